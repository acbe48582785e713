"""How what was told to W&B looks on the terminal."""

import shlex
from pathlib import Path

from medsweep.commands.typed import companion, typed
from medsweep.tracking.dashboard import Saved
from medsweep.tracking.mirror import Built
from medsweep.tracking.push import Pushed

SHOWN = 5
"""Failed runs that are named with their reasons."""


def mirror_line(built: Built | None, sweep: Path, store: str, before: int = 0) -> str:
    """How many runs there are, how many failed, where they are, and how to look at them and upload them.

    ``before`` counts those that were written by this command before ``built``.
    """
    words = [str(sweep), "--store", store]
    if built is None:
        return f"W&B: not mirrored, since the run was stopped; mirror: {typed('wandb', 'build', *words)}"
    lost = ""
    if built.failed:
        name, reason = next(iter(built.failed.items()))
        lost = f", first {name} ({reason})"
    return (
        f"W&B: {len(built.runs)} runs mirrored in {built.folder}, {before + built.written} of them now; "
        f"{len(built.failed)} failed{lost}\n"
        f"  look: {shlex.join([companion('wandb'), 'leet', str(built.folder)])}\n"
        f"  push: {typed('wandb', 'push', *words)}"
    )


def push_lines(pushed: Pushed, built: Built) -> list[str]:
    """Where the runs are, how many were uploaded, were there before and failed, and why the first ones did."""
    failed = {**built.failed, **pushed.failed}
    completed = f"{len(pushed.completed)} completed, " if pushed.completed else ""
    counts = f"{len(pushed.uploaded)} runs uploaded, {completed}{len(pushed.there)} there before, {len(failed)} failed"
    lines = [f"W&B: {counts}" + (f"; {pushed.url}" if pushed.url else "")]
    lines += [f"failed: {name}: {reason}" for name, reason in list(failed.items())[:SHOWN]]
    return lines + ([f"and {len(failed) - SHOWN} more"] if len(failed) > SHOWN else [])


def dashboard_lines(saved: Saved) -> list[str]:
    """How many views are new, and the address of each."""
    updated = len(saved.addresses) - saved.made
    lines = [f"W&B: {saved.made} views made, {updated} updated"]
    return lines + [f"{name}: {address}" for name, address in saved.addresses.items()]
