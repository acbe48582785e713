"""What this process may use of its machine: its affinity and the limits of its control groups, not what is built in."""

import os
from collections.abc import Iterator
from pathlib import Path

GROUPS = Path("/sys/fs/cgroup")


def cpus_here(groups: Path = GROUPS, own: Path = Path("/proc/self/cgroup")) -> int:
    """CPUs that this process may use, at least 1: those it may be put on, or fewer where a quota is below them."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quotas = [_quota(folder) for folder in _folders(groups, own)]
    return max(1, int(min([float(allowed), *(quota for quota in quotas if quota is not None)])))


def memory_here(
    groups: Path = GROUPS, own: Path = Path("/proc/self/cgroup"), info: Path = Path("/proc/meminfo")
) -> float | None:
    """GiB of memory that this process may use at most; None where nothing tells."""
    limits = []
    if info.exists():
        limits = [
            int(line.split()[1]) / 2**20 for line in info.read_text().splitlines() if line.startswith("MemTotal:")
        ]
    for folder in _folders(groups, own):
        for name in ("memory.max", "memory/memory.limit_in_bytes"):
            text = _read(folder / name)
            if text.isdigit():
                limits.append(int(text) / 2**30)
    return min(limits, default=None)


def _folders(groups: Path, own: Path) -> Iterator[Path]:
    """The control group of this process and those above it, whose limits hold for it, too."""
    text = next((line[3:] for line in _read(own).splitlines() if line.startswith("0::")), "/")
    folder = groups / text.strip().lstrip("/")
    while folder != groups and groups in folder.parents:
        yield folder
        folder = folder.parent
    yield groups


def _quota(folder: Path) -> float | None:
    words = _read(folder / "cpu.max").split()
    if not words:  # version 1 of control groups, as it is mounted in a container
        words = [_read(folder / "cpu" / name).strip() for name in ("cpu.cfs_quota_us", "cpu.cfs_period_us")]
    if len(words) != 2 or not all(word.isdigit() for word in words) or int(words[1]) == 0:
        return None
    return int(words[0]) / int(words[1])


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
