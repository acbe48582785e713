"""Section 6: training a U-Net against a plain MONAI loop with AMP, what a step is made of, and scoring a patient."""

import copy
from collections.abc import Callable, Iterator
from typing import Any

import torch
from segmentation_peer import monai_steps
from slices_made_up import made_up

from gpu_sections.predictions import UNET
from gpu_sections.report import Report
from gpu_sections.timing import Timed, block_ms, profiled, switched, timed, waits
from gpu_sections.unet_product import UNet, average_at_once, average_of_tensors, config_of, score_patient
from medsweep.trainers.segmentation.network import build
from medsweep.trainers.stylegan2.config import WARM_UPS
from medsweep.trainers.stylegan2.graphs import CudaRecorder

FETCHED_EVERY = 100


def run(report: Report) -> None:
    """The plain loop and today's step first, since all else is compared with them."""
    peer = None
    with report.part("plain MONAI loop"):
        peer = plain(report)
    with report.part("as it is"):
        today(report, peer)
    with report.part("CUDA graph"):
        graphed(report, peer)
    for name, how in VARIATIONS.items():
        with report.part(name):
            variation(report, name, peer, **how)
    with report.part("running average"):
        averages(report)
    with report.part("scoring"):
        scoring(report)


VARIATIONS: dict[str, dict[str, Any]] = {
    "float32": {"half": False},
    "channels-last": {"channels_last": True},
    "without search": {"benchmark": False},
    "full augmentation": {"augment": "full"},
    "running average on": {"ema_half_life_steps": 500},
}
"""What differs from today's step, which searches for algorithms here so that each variation changes one thing."""


def sizes(report: Report) -> dict[str, Any]:
    """Side, batch, slices, steps per measurement."""
    if report.toy:
        return {"side": 32, "batch": 4, "slices": 8, "steps": 3, "workers": 1}
    return {"side": 256, "batch": 16, "slices": 512, "steps": 300, "workers": 8}


def make(report: Report, **settings: Any) -> UNet:
    """A U-Net of the size that is measured."""
    size = sizes(report)
    return UNet(config_of(size["side"], batch_size=size["batch"], **settings), report.device, size["slices"])


def blocks(report: Report, work: Callable[[], object]) -> Timed:
    """Warm up with a tenth of the steps, then time three blocks of a third."""
    steps = sizes(report)["steps"]
    for _ in range(max(1, steps // 10)):
        work()
    low, median, high = sorted(block_ms(work, max(1, steps // 3), report.device) for _ in range(3))
    return Timed(median, low, high)


def tell(report: Report, name: str, time_ms: Timed, peer: Timed | None, **more: Any) -> None:
    """A row, with how many times as fast as the plain loop it is."""
    batch = sizes(report)["batch"]
    ratio = None if peer is None else peer.median / time_ms.median
    measured = {"images_per_s": 1e3 * batch / time_ms.median, "times_plain": ratio}
    report.row("unet", {"step": name, "batch": batch}, ms=time_ms.ms, **measured, **more)


def plain(report: Report) -> Timed:
    """The tutorials' loop with AMP and worker processes, begun before this process has used the device."""
    size = sizes(report)
    config = config_of(size["side"], batch_size=size["batch"])
    images, masks = made_up(size["slices"], size["side"])
    model = build(UNet(config, "cpu", size["batch"]).architecture, 0)
    rates = {"learning_rate": config.learning_rate, "weight_decay": config.weight_decay}
    steps: Iterator[None] = monai_steps(
        model, images, masks, batch=size["batch"], device=report.device, workers=size["workers"], **rates
    )
    time_ms = blocks(report, lambda: next(steps))
    steps.close()
    tell(report, "plain MONAI with AMP", time_ms, None)
    return time_ms


def today(report: Report, peer: Timed | None) -> None:
    """The step of a trial under torch's own switches, its waits, and what runs on the device."""
    unet = make(report)
    time_ms = blocks(report, unet.step)
    lines = waits(unet.step, report.device)
    profile = profiled(unet.step, report.device, 3)
    report.kernels("U-Net, as it is", profile.top)
    tell(
        report,
        "as it is",
        time_ms,
        peer,
        waits=len(lines),
        lines=sorted(set(lines)),
        launches=profile.launches,
        busy_share=min(1.0, profile.busy_ms / time_ms.median),
        predicted=UNET["as it is"],
    )
    if report.on_gpu:
        report.check("unet/waits of a step", len(lines), 1, "waits")


def variation(
    report: Report,
    name: str,
    peer: Timed | None,
    *,
    half: bool | None = None,
    channels_last: bool = False,
    benchmark: bool = True,
    **settings: Any,
) -> None:
    """Today's step with one thing changed."""
    unet = make(report, **settings)
    if half is not None:
        unet.in_half(half)
    if channels_last:
        unet.model.to(memory_format=torch.channels_last)
    with switched(tf32=True, benchmark=benchmark):
        tell(report, name, blocks(report, unet.step), peer)


def graphed(report: Report, peer: Timed | None) -> None:
    """Forward, loss and backward as one graph; augmentation and Adam outside, the loss fetched once per 100 steps."""
    for half in (False, True):
        unet = make(report)
        with switched(tf32=True, benchmark=True):
            eager = pieces(report, unet, half, graph=False)
            tell(report, f"loss fetched rarely, {'bf16' if half else 'float32'}", eager, peer)
            replayed = pieces(report, unet, half, graph=True)
            name = f"CUDA graph, {'bf16' if half else 'float32'}"
            tell(report, name, replayed, peer, times_eager=eager.median / replayed.median, predicted=UNET["CUDA graph"])
    if not report.on_gpu:
        report.needs_cuda("unet", {"step": "CUDA graph, for which the work itself stood in"})


def pieces(report: Report, unet: UNet, half: bool, *, graph: bool) -> Timed:
    """A step written out: a batch into fixed memory, forward and backward, Adam."""
    images, masks = (x.clone() for x in unet.batch())
    lost: list[torch.Tensor] = []

    def inner() -> torch.Tensor:
        if not graph:
            unet.optimizer.zero_grad(set_to_none=True)
        return unet.forward_backward(images, masks, half)

    if graph:
        inner = recorded(report, unet, inner)

    def step() -> None:
        new_images, new_masks = unet.batch()
        images.copy_(new_images)
        masks.copy_(new_masks)
        loss = inner()
        unet.optimizer.step()
        lost.append(loss)
        if len(lost) == FETCHED_EVERY:
            torch.stack(lost).tolist()
            lost.clear()

    return blocks(report, step)


def recorded(report: Report, unet: UNet, inner: Callable[[], Any]) -> Callable[[], Any]:
    """The inner part as a graph. Gradients that it makes anew are overwritten by each replay, so none is zeroed."""

    def afresh() -> Any:
        unet.optimizer.zero_grad(set_to_none=True)
        return inner()

    if not report.on_gpu:
        return afresh  # stands in for the replay
    recorder = CudaRecorder()
    for _ in range(WARM_UPS):
        recorder.aside(afresh)
    unet.optimizer.zero_grad(set_to_none=True)
    return recorder.record(inner, torch.Generator(report.device))


def averages(report: Report) -> None:
    """The running average of the weights, a tensor at a time and all at once."""
    unet = make(report)
    mean = copy.deepcopy(unet.model)
    for name, update in (("a tensor at a time", average_of_tensors), ("at once", average_at_once)):
        work = update(mean, unet.model)
        work()
        profile = profiled(work, report.device)
        report.row("average", {"how": name}, ms=timed(work, report.device, 0.1).ms, launches=profile.launches)


def scoring(report: Report) -> None:
    """One patient: where the seconds go, and how much of it holds the device for nothing."""
    size = sizes(report)
    slices, side = (8, 40) if report.toy else (100, 320)
    model = make(report).model.eval()
    seconds = score_patient(model, size["side"], slices, side)
    for part, spent in seconds.items():
        predicted = UNET["score"] if part == "all" else None
        report.row("score", {"slices": slices, "side": side, "part": part}, seconds=spent, predicted=predicted)
