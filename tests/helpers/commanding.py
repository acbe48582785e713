"""Commands as the fixture ``medsweep`` runs them, and the cohort of the smallest real sweep as files."""

from collections.abc import Callable
from pathlib import Path

from typer.testing import Result

from medsweep.data.phantom import PhantomConfig
from medsweep.data.phantom.generic import write_phantom

Medsweep = Callable[..., Result]


def decathlon(folder: Path) -> Path:
    root = folder / "Task99_Micro"
    write_phantom(PhantomConfig(patients=6, seed=3, shape=(20, 18, 8), spacing_mm=(2.0, 2.0, 4.0)), root)
    return root
