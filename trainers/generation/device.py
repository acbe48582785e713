"""How a generator uses the device it is given: precision and memory layout. Both are reported and never in the digest.

bfloat16 in the four highest resolutions follows the mixed precision of Karras et al. 2020 (arXiv 2006.06676), which
uses float16 there; R is the resolution in pixels.
"""

import json
import os
import platform
import re
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import torch

from medsweep.errors import UserError
from medsweep.trainers.precision import rounding

HARDWARE: Final = "hardware.json"
HALF_LEVELS: Final = 4
"""How many of the highest resolutions compute in bfloat16."""
LOWEST_HALF: Final = 4
"""The lowest resolution that may be among them."""


@dataclass(frozen=True)
class DeviceSettings:
    """The decisions for one trial."""

    device: str
    name: str
    total_memory: int
    """Bytes."""
    tf32: bool
    """Float32 products of matrices and convolutions in TensorFloat-32."""
    half_from: int | None
    """Lowest resolution whose convolutions compute in bfloat16 in the main phases; None is float32 throughout."""
    channels_last: bool
    deterministic: bool
    """Whether torch was told to use deterministic algorithms only."""
    threads: int
    compiled: bool = False
    """Whether the main phases run through ``torch.compile``."""
    cuda_graphs: bool = False
    """Whether the main phases are recorded as CUDA graphs and replayed."""


def device_settings(
    device: str, resolution: int, *, compiled: bool = False, cuda_graphs: bool = False
) -> DeviceSettings:
    """Decide for ``device`` ('cpu', 'cuda:0') and networks of R = ``resolution``.

    Raises:
        UserError: ``device`` is no device, or a CUDA device that torch does not see; or what only CUDA has was asked
            for on another one.
    """
    try:
        kind = torch.device(device)
    except RuntimeError:
        raise UserError(f"device {device!r} is none that torch knows; use 'cpu', 'cuda' or 'cuda:0'") from None
    if kind.type == "cuda":
        visible = torch.cuda.device_count()
        if (kind.index or 0) >= visible:
            raise UserError(
                f"device {device!r} was asked for, but torch sees {visible} CUDA devices; use 'cpu' or another"
            )
        cuda = torch.cuda.get_device_properties(kind)
        name, memory = cuda.name, cuda.total_memory
        fast = cuda.major >= 8  # such devices compute in bfloat16 natively, and have TensorFloat-32 as well
    else:
        for asked, field in ((compiled, "gan.compiled"), (cuda_graphs, "gan.cuda_graphs")):
            if asked:
                raise UserError(
                    f"{field}: true needs a CUDA device, and this training runs on {device!r}; "
                    "give it one with resources.gan.gpus, or leave the option out"
                )
        name = _processor() if kind.type == "cpu" else kind.type
        memory, fast = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"), False
    return DeviceSettings(
        device=device,
        name=name,
        total_memory=memory,
        tf32=fast,
        half_from=max(LOWEST_HALF, resolution >> (HALF_LEVELS - 1)) if fast else None,
        channels_last=kind.type == "cuda",
        deterministic=torch.are_deterministic_algorithms_enabled(),
        threads=torch.get_num_threads(),
        compiled=compiled,
        cuda_graphs=cuda_graphs,
    )


@contextmanager
def applied(settings: DeviceSettings) -> Iterator[None]:
    """Set the global switches of torch for a while; what they were is restored whatever happens inside.

    On a CPU nothing is changed. cuDNN tries its algorithms out only where runs need not be repeatable to the bit.
    """
    cudnn = torch.backends.cudnn
    tried_out = cudnn.benchmark
    try:
        if settings.channels_last:
            cudnn.benchmark = not settings.deterministic
        with rounding(tf32=True) if settings.tf32 else nullcontext():
            yield
    finally:
        cudnn.benchmark = tried_out


def write_settings(folder: Path, settings: DeviceSettings) -> None:
    """Record how a trial used its device, in ``HARDWARE`` below ``folder``."""
    (folder / HARDWARE).write_text(json.dumps(asdict(settings), indent=2, sort_keys=True) + "\n")


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    model = re.search(r"model name\s*:\s*(.+)", cpuinfo.read_text()) if cpuinfo.exists() else None
    return model[1].strip() if model else platform.processor() or platform.machine()
