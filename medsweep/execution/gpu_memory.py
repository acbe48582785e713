"""The memory of a GPU: what a process sees of it, and how much of it a trial is given."""

import gc
import traceback
from typing import NamedTuple

from medsweep.errors import UserError
from medsweep.sweep.file import Resources

SHARES = (0.125, 0.25, 0.5, 1.0)
"""Shares of a GPU that trials hold. Few, because Ray keeps processes for reuse by what they hold."""
SPARE = 1.1
"""Memory set aside over the peak that was seen: allocators keep more than they use, and shapes of batches vary."""
CONTEXT_MIB = 600.0
"""What the driver of a GPU takes for every process before its first tensor; torch's allocator does not see it."""


SHORT = 0.1
"""Share of a GPU that has to be free before a trial that holds all of it is not short of memory."""

WHOLE_NODE_GIB = 1e6
"""Host memory of a trial that shall be alone on its node: a runner sets aside no more than its largest node has."""


class Grant(NamedTuple):
    """What a trial is given: what it holds, and the micro-batches that each of its batches is worked in."""

    held: Resources
    micro_batches: int


def share_for(peak_mib: float, total_mib: float) -> float:
    """The smallest share of a GPU of ``total_mib`` that holds a process whose allocator peaked at ``peak_mib``."""
    need = peak_mib * SPARE + CONTEXT_MIB
    return next((share for share in SHARES if share * total_mib >= need), SHARES[-1])


def allocator_share(share: float, total_mib: float) -> float:
    """The share of a GPU that torch may allocate in a process that holds ``share`` of it: all but its context."""
    return 1.0 if share >= 1.0 else max(share - CONTEXT_MIB / total_mib, share / 2)


def next_grant(grant: Grant, stated: Resources, most_micro_batches: int, *, of_host: bool = False) -> Grant | None:
    """What to give after running out of memory: a larger share of a GPU, then twice as many micro-batches.

    Without a GPU, or where it ran out ``of_host`` memory and was killed for that, it is twice the host memory, once;
    all that a node has where the stage states none. None where there is no more to give.
    """
    held, micro_batches = grant
    gpus = held.most_gpus
    if gpus == 0 or of_host:
        doubled = 2 * stated.memory_gib or (WHOLE_NODE_GIB if of_host else 0.0)
        if held.memory_gib >= doubled:
            return None
        return Grant(held.model_copy(update={"memory_gib": doubled}), micro_batches)
    larger = [share for share in SHARES if gpus < share]
    if larger:
        return Grant(held.model_copy(update={"gpus": larger[0]}), micro_batches)
    return Grant(held, min(2 * micro_batches, most_micro_batches)) if micro_batches < most_micro_batches else None


class Gpu:
    """The CUDA device that Ray, or the user, has made visible first; travels to workers, so it holds no state."""

    def begin(self, share: float) -> None:
        """Let this process allocate no more than its share of the device, and forget the trials before it.

        What they left in the allocator would count as this trial's peak, and lie beside its share.

        Raises:
            UserError: torch sees no GPU.
        """
        import torch

        if not torch.cuda.is_available():
            raise UserError("the trial holds a GPU, but torch sees none here; install a CUDA build, or write gpus: 0")
        self.release()
        torch.cuda.set_per_process_memory_fraction(allocator_share(share, self.total_mib()))
        torch.cuda.reset_peak_memory_stats()

    def peak_mib(self) -> float:
        """Most that was reserved since ``begin``; not allocated, since what fragmentation costs has to fit, too."""
        import torch

        return float(torch.cuda.max_memory_reserved()) / 2**20

    def total_mib(self) -> float:
        """Memory of the whole device."""
        import torch

        return float(torch.cuda.get_device_properties(0).total_memory) / 2**20

    def name(self) -> str:
        """The model."""
        import torch

        return str(torch.cuda.get_device_name(0))

    def is_short(self, share: float) -> bool:
        """Whether a trial that holds ``share`` may have failed for want of memory: it has a cap, or little is free."""
        if share < 1.0:
            return True
        import torch

        try:
            free, total = torch.cuda.mem_get_info()
        except RuntimeError:  # the error before it has left the device unusable
            return False
        return free < SHORT * total

    def release(self, error: BaseException | None = None) -> None:
        """Give back what a trial that ended left in the allocator.

        ``error`` ended it: the frames that it was raised through hold the trial's tensors, and let go of them here.
        """
        import torch

        while error is not None:
            traceback.clear_frames(error.__traceback__)
            error = error.__cause__ or error.__context__
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
