"""What makes a segmenter train faster on a CPU and leaves its function, its weights and their names as they are."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from medsweep.trainers.segmentation.optimisation import levels_of


def prepare(model: nn.Module) -> None:
    """Lay the weights of ``model`` out channels-last, and let every ``PReLU`` with one slope have a faster gradient.

    oneDNN works on channels-last as it lies, while it copies every other input and output of a convolution to a layout
    of its own and back. What the network computes and its gradients change in rounding alone.
    """
    model.register_forward_hook(_gradient_as_output)
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in torch's stubs
    for parent in list(model.modules()):
        for name, child in parent.named_children():
            if isinstance(child, nn.PReLU) and child.num_parameters == 1:
                setattr(parent, name, OneSlope(child))


def _gradient_as_output(_model: nn.Module, _inputs: object, output: Tensor | Sequence[Tensor]) -> None:
    """Let the gradient of the logits be channels-last, as they are; a loss may lay it out otherwise."""
    for logits_NKrr in levels_of(output):
        if logits_NKrr.requires_grad:
            logits_NKrr.register_hook(lambda gradient: gradient.contiguous(memory_format=torch.channels_last))


class OneSlope(nn.PReLU):
    """A ``PReLU`` with one slope (He 2015), which it shares with the one that it takes the place of.

    Torch's own writes a gradient of the slope for every element and adds them up one by one.
    """

    def __init__(self, replaced: nn.PReLU) -> None:
        super().__init__()
        self.weight = replaced.weight
        self.training = replaced.training

    def forward(self, input: Tensor) -> Tensor:
        """Values of the shape of ``input``."""
        activated: Tensor = _OneSlope.apply(input, self.weight)  # type: ignore[no-untyped-call]
        return activated


class _OneSlope(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, slope: Tensor) -> Tensor:
        ctx.save_for_backward(x, slope)
        return functional.prelu(x, slope)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        x, slope = ctx.saved_tensors
        above = torch.ops.aten.threshold_backward(gradient, x, 0)
        below = gradient - above
        of_x = torch.addcmul(above, below, slope)
        return of_x, below.mul_(x).sum().view(1)
