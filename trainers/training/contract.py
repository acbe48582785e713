"""What the suites of contracts share: made-up slices, a trial that is killed, and the bytes that it leaves."""

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import Tensor

from medsweep.data.config import DataConfig, PrepareConfig
from medsweep.data.phantom import PhantomConfig
from medsweep.data.prepare import run as prepare
from medsweep.data.source import inspect_source
from medsweep.folder_trial import FolderTrial, drain
from medsweep.trial import Progress


def made_up_slices(folder: Path, resolution: int) -> Path:
    """Prepared slices of six made-up patients; they are made below ``folder``."""
    trial = FolderTrial(folder / "prepare")
    phantom = PhantomConfig(patients=6, seed=3, shape=(20, 18, 8), spacing_mm=(2.0, 2.0, 4.0))
    data = DataConfig(dataset="phantom", phantom=phantom, resolution=resolution)
    source = inspect_source(data, trial.scratch)
    drain(prepare(PrepareConfig(**dict(data), source=source.fingerprint), {}, trial))
    return trial.output


def require_same_bytes_after_kills(start: Callable[[Any], Iterator[Progress]], folder: Path, what: str) -> None:
    """Run a trial once whole, and again killed after its first, a middle and its last report.

    ``start`` starts its stage function on a trial.

    Raises:
        AssertionError: a killed one ends with other bytes.
    """
    whole = FolderTrial(folder / "whole", due=True)
    reports = drain(start(whole))
    for killed_after in sorted({1, max(1, len(reports) // 2), len(reports)}):
        killed = folder / f"killed after {killed_after}"
        attempt = start(FolderTrial(killed, due=True))
        for _ in range(killed_after):
            next(attempt)
        attempt.close()  # type: ignore[attr-defined]
        again = FolderTrial(killed, due=True)
        drain(start(again))
        assert files_of(again.output) == files_of(whole.output), f"{what}: killed after report {killed_after}"


def files_of(folder: Path) -> dict[str, bytes]:
    """The bytes of each file below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@contextmanager
def counted_bytes() -> Iterator[Callable[[], int]]:
    """What counts the bytes of all tensors that were made since and that something still refers to."""

    def held() -> int:
        gc.collect()
        # asking a lazy object for its class, as isinstance does, would wake it
        storages = [each.untyped_storage() for each in gc.get_objects() if issubclass(type(each), Tensor)]
        return sum({storage.data_ptr(): storage.nbytes() for storage in storages}.values())

    gc.freeze()  # looking through all that was there before would take seconds
    try:
        yield held
    finally:
        gc.unfreeze()
