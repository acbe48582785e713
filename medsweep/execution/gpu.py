"""The memory of a GPU as one process sees it: its cap and its peak. A protocol, so that tests can give numbers."""

from typing import Protocol


class Gpu(Protocol):
    """The device of this process; travels to workers as it is, so it holds no state of its own."""

    def begin(self, share: float) -> None:
        """Let this process allocate no more than its part of the device, and forget the peak so far."""

    def peak_mib(self) -> float:
        """Most that the allocator of this process has held since ``begin``."""

    def total_mib(self) -> float:
        """Memory of the whole device."""

    def name(self) -> str:
        """The model."""

    def release(self) -> None:
        """Give back what a trial that ended left in the allocator."""


class TorchGpu:
    """The CUDA device that Ray, or the user, has made visible first."""

    def begin(self, share: float) -> None:
        """Cap this process at ``share`` less its context.

        Raises:
            UserError: torch sees no GPU.
        """
        import torch

        from medsweep.errors import UserError
        from medsweep.execution.resources import allocator_share

        if not torch.cuda.is_available():
            raise UserError("the trial holds a GPU, but torch sees none here; install a CUDA build, or write gpus: 0")
        torch.cuda.set_per_process_memory_fraction(allocator_share(share, self.total_mib()))
        torch.cuda.reset_peak_memory_stats()

    def peak_mib(self) -> float:
        """Reserved, not allocated: what fragmentation costs has to fit, too."""
        import torch

        return float(torch.cuda.max_memory_reserved()) / 2**20

    def total_mib(self) -> float:
        """As the driver tells it."""
        import torch

        return float(torch.cuda.get_device_properties(0).total_memory) / 2**20

    def name(self) -> str:
        """As the driver tells it."""
        import torch

        return str(torch.cuda.get_device_name(0))

    def release(self) -> None:
        """Collect what nothing refers to any more, and empty torch's cache."""
        import gc

        import torch

        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
