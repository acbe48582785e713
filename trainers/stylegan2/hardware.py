"""How a GAN uses the device it is given: precision and memory layout. Reported, never part of the digest.

bfloat16 in the four highest resolutions follows the mixed precision of Karras et al. 2020 (arXiv 2006.06676), which
uses float16 there; R is the resolution in pixels.
"""

import os
import platform
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import torch

from medsweep.errors import UserError

HALF_LEVELS: Final = 4
"""How many of the highest resolutions compute in bfloat16."""

LOWEST: Final = 4


class Probe(Protocol):
    """What has to be known of a device in order to decide."""

    @property
    def is_cuda(self) -> bool:
        """Whether CUDA drives it."""

    @property
    def bf16(self) -> bool:
        """Whether it computes in bfloat16 natively; such devices have TensorFloat-32 as well."""

    @property
    def name(self) -> str:
        """The model, for the report."""

    @property
    def total_memory(self) -> int:
        """Bytes."""


@dataclass(frozen=True)
class Found:
    """A ``Probe`` with fixed answers."""

    is_cuda: bool
    bf16: bool
    name: str
    total_memory: int


@dataclass(frozen=True)
class Hardware:
    """The decisions for one trial."""

    device: str
    name: str
    total_memory: int
    """Bytes of the device."""
    tf32: bool
    """Float32 products of matrices and convolutions in TensorFloat-32."""
    half_from: int | None
    """Lowest resolution whose convolutions compute in bfloat16 in the main phases; None is float32 throughout."""
    channels_last: bool
    deterministic: bool
    """Whether torch was told to use deterministic algorithms only."""
    threads: int
    """Threads of torch on the CPU."""


def probe(device: str) -> Probe:
    """Ask torch and the operating system about a device.

    Raises:
        UserError: ``device`` is no device, or a CUDA device that torch does not see.
    """
    try:
        kind = torch.device(device)
    except RuntimeError:
        raise UserError(f"device {device!r} is none that torch knows; use 'cpu', 'cuda' or 'cuda:0'") from None
    if kind.type != "cuda":
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        return Found(False, False, _processor() if kind.type == "cpu" else kind.type, memory)
    seen = torch.cuda.device_count()
    if (kind.index or 0) >= seen:
        raise UserError(f"device {device!r} was asked for, but torch sees {seen} CUDA devices; use 'cpu' or another")
    found = torch.cuda.get_device_properties(kind)
    return Found(True, found.major >= 8, found.name, found.total_memory)


def plan_hardware(device: str, resolution: int, found: Probe | None = None) -> Hardware:
    """Decide for ``device`` ('cpu', 'cuda:0') and networks of R = ``resolution``.

    Args:
        device: as torch names it.
        resolution: R.
        found: what is known of the device; torch is asked where it is None.

    Raises:
        UserError: as for ``probe``.
    """
    found = probe(device) if found is None else found
    fast = found.is_cuda and found.bf16
    return Hardware(
        device=device,
        name=found.name,
        total_memory=found.total_memory,
        tf32=fast,
        half_from=max(LOWEST, resolution >> (HALF_LEVELS - 1)) if fast else None,
        channels_last=found.is_cuda,
        deterministic=torch.are_deterministic_algorithms_enabled(),
        threads=torch.get_num_threads(),
    )


@contextmanager
def apply(hardware: Hardware) -> Iterator[None]:
    """Set the global switches of torch for a while; what they were is restored whatever happens inside.

    On a CPU nothing is changed. cuDNN tries its algorithms out only where runs need not be repeatable to the bit.
    """
    cudnn = torch.backends.cudnn
    before = torch.get_float32_matmul_precision(), cudnn.allow_tf32, cudnn.benchmark
    try:
        if hardware.tf32:
            torch.set_float32_matmul_precision("high")
            cudnn.allow_tf32 = True
        if hardware.channels_last:
            cudnn.benchmark = not hardware.deterministic
        yield
    finally:
        torch.set_float32_matmul_precision(before[0])
        cudnn.allow_tf32, cudnn.benchmark = before[1:]


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*:\s*(.+)", cpuinfo.read_text()) if cpuinfo.exists() else None
    return found[1].strip() if found else platform.processor() or platform.machine()
