"""The live W&B run of one trial after the other, written from inside the trial's process where W&B is online.

The store stays the truth: what fails here is logged once and costs the trial nothing. Run ids are made of stage and
digest, so a trial that goes on after a crash extends its run.
"""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from medsweep.tracking.client import environment, log_row, own_variables, prefer_own_steps, quiet_settings
from medsweep.tracking.private import redacted
from medsweep.tracking.tracker import RunCard, Tracker, TrackingMode, clipped, exit_code, run_id
from medsweep.trial import Progress

logger = logging.getLogger(__name__)


def live_tracker(folder: Path, mode: TrackingMode) -> Tracker:
    """What mirrors trials while they run: offline nothing does, since the mirror is then made from the store."""
    return WandbTracker(folder, mode) if mode == "online" else Tracker()


class WandbTracker(Tracker):
    """Mirrors trials to W&B, which keeps all that it writes in ``folder``."""

    def __init__(self, folder: Path, mode: TrackingMode) -> None:
        self._folder = folder.absolute()
        self._mode = mode
        self._stage = ""
        self._run: Any = None
        self._last_step = 0
        self._muted = False

    def begin(self, card: RunCard, last_step: int) -> None:
        """Open the run of a trial, or the next segment of it; steps up to ``last_step`` are there already."""
        self._close(exit_code=1)
        if self._muted:
            # W&B's helper process may be dead, or hold the id of a run that failed to open; a new one cures both.
            with self._guarded():
                import wandb

                wandb.teardown()
        self._stage, self._last_step = card.stage, last_step
        self._muted = False
        with self._guarded():
            self._run = self._open(card)
            self._last_step = max(last_step, int(self._run.summary.get(f"{card.stage}/step") or 0))
            prefer_own_steps(self._run, card.stage)

    def log(self, progress: Progress) -> None:
        """Send metrics and pictures as ``STAGE/NAME``; a step that an earlier attempt sent is skipped."""
        if self._run is None or self._muted or progress.step <= self._last_step:
            return
        with self._guarded():
            log_row(self._run, self._stage, progress.step, progress.metrics, progress.pictures)

    def end(self, outcome: str, summary: Mapping[str, float]) -> None:
        """Send the summary and the outcome, and close the run."""
        if self._run is not None and not self._muted:
            with self._guarded():
                self._run.summary.update({**summary, "outcome": outcome})
        self._close(exit_code=exit_code(outcome))

    def _open(self, card: RunCard) -> Any:
        # Made beforehand because W&B falls back to the system's temporary folder where it cannot write.
        (self._folder / "wandb").mkdir(parents=True, exist_ok=True)
        with environment(own_variables(self._folder, self._mode)):
            import wandb

            # Process-wide, so that a missing key is an error that is caught here, never a question to the terminal.
            wandb.setup(settings=wandb.Settings(mode=self._mode, silent=True))
            return wandb.init(
                dir=self._folder,
                mode=self._mode,
                project=card.sweep,
                id=run_id(card.stage, card.digest),
                name=_readable_name(card),
                group=clipped(card.group),
                job_type=card.stage,
                tags=_tags(card),
                config=_run_config(card),
                resume="allow",
                reinit="create_new",
                settings=quiet_settings(),
            )

    def _close(self, exit_code: int) -> None:
        run, self._run = self._run, None
        if run is not None:
            with self._guarded():
                run.finish(exit_code=exit_code)

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            if not self._muted:
                reason = " ".join(str(error).split())
                logger.warning("W&B no longer mirrors this trial (%s: %s)", type(error).__name__, reason)
            self._muted = True


def _run_config(card: RunCard) -> dict[str, Any]:
    about = {name: getattr(card, name) for name in ("stage", "digest", "arms", "fold", "seed", "inputs")}
    return {**redacted(card.config), "medsweep": about}


def _tags(card: RunCard) -> list[str]:
    tags = [*card.arms, *(f"{name}-{number}" for name, number in _replicate(card))]
    return list(dict.fromkeys(clipped(tag) for tag in tags))


def _readable_name(card: RunCard) -> str:
    arms = card.arms[0] if len(card.arms) == 1 else f"{len(card.arms)} arms"
    shown = [f"{name} {number}" for name, number in _replicate(card)]
    return " ".join([card.stage, clipped(arms), *shown, card.digest[:6]])


def _replicate(card: RunCard) -> list[tuple[str, int]]:
    return [(name, number) for name, number in (("fold", card.fold), ("seed", card.seed)) if number is not None]
