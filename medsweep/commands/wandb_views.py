"""How what was told to W&B looks on the terminal."""

import shlex
from pathlib import Path

from medsweep.tracking.mirror import Built


def mirror_line(built: Built | None, sweep: Path, store: Path, before: int = 0) -> str:
    """How many runs there are, how many failed, where they are, and how to look at them and upload them.

    ``before`` counts those that were written by this command before ``built``.
    """
    words = [str(sweep), "--store", str(store)]
    if built is None:
        later = shlex.join(["medsweep", "wandb", "build", *words])
        return f"W&B: not mirrored, since the run was stopped; mirror: {later}"
    lost = ""
    if built.failed:
        name, reason = next(iter(built.failed.items()))
        lost = f", first {name} ({reason})"
    return (
        f"W&B: {len(built.runs)} runs mirrored in {built.folder}, {before + built.written} of them now; "
        f"{len(built.failed)} failed{lost}; look: {shlex.join(['wandb', 'leet', str(built.folder)])}; "
        f"upload: {shlex.join(['medsweep', 'wandb', 'push', *words])}"
    )
