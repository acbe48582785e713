"""A trial on plain folders: what drives a stage function in tests, without the engine."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from medsweep.trial import Progress


@dataclass
class FolderTrial:
    """Implements ``medsweep.trial.Trial`` under ``folder``; made again on the same folder, it restores from it."""

    folder: Path
    digest: str = "0" * 64
    device: str = "cpu"
    gpu_share: float = 0.0
    threads: int = 1
    micro_batches: int = 1
    due: bool = False
    """Answer of ``checkpoint_due``; may be changed between two reports."""
    notes: list[str] = field(default_factory=list)

    output: Path = field(init=False)
    scratch: Path = field(init=False)

    def __post_init__(self) -> None:
        self.output, self.scratch = self.folder / "output", self.folder / "scratch"
        for part in (self.output, self.scratch, self._checkpoints):
            part.mkdir(parents=True, exist_ok=True)

    @property
    def _checkpoints(self) -> Path:
        return self.folder / "checkpoints"

    def checkpoint_due(self) -> bool:
        return self.due

    def checkpoint(self, step: int, write: Callable[[Path], None]) -> None:
        """Written aside and renamed, so that a ``write`` that raises leaves the older checkpoint alone."""
        part = self._checkpoints / "part"
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir()
        write(part)
        older = [path for path in self._checkpoints.iterdir() if path != part]
        for path in older:
            shutil.rmtree(path)
        part.rename(self._checkpoints / f"{step:012d}")

    def note(self, text: str) -> None:
        self.notes.append(text)

    def restore(self) -> tuple[int, Path] | None:
        whole = sorted(path for path in self._checkpoints.iterdir() if path.name != "part")
        return (int(whole[-1].name), whole[-1]) if whole else None


def drain(iterator: Iterator[Progress]) -> list[Progress]:
    """Run a stage function to its end and keep its reports."""
    return list(iterator)
