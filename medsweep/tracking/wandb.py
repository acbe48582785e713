"""The live W&B run of one trial after the other, written from inside the trial's process where W&B is online.

The store stays the truth: what fails here is logged once and costs the trial nothing. A run has the id, the name, the
settings and the keys that the mirror of the store gives it, so that a dashboard is right while the sweep runs.
"""

import logging
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from medsweep.tracking.client import (
    OF_ONE_RUN,
    environment,
    log_row,
    own_variables,
    prefer_own_steps,
    quiet_settings,
)
from medsweep.tracking.mirrored_run import recorded_rows
from medsweep.tracking.mode import unreachable
from medsweep.tracking.tracker import RunCard, Tracker, TrackingMode, exit_code
from medsweep.trial import Progress

PAUSE_SECONDS: Final = 600.0
"""Time for which a server that cannot be used is not asked again."""
FREE_MIB: Final = 64
"""Space that must be free where the client writes."""

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
        self._paused_until = 0.0

    def begin(self, card: RunCard, part: Path) -> None:
        """Open the run of a trial, or go on with it; reports of earlier attempts that W&B lacks are sent first."""
        self._close(exit_code=1)
        if not self._is_usable():
            return
        if self._muted:
            # W&B's helper process may be dead, or hold the id of a run that failed to open; a new one cures both.
            with self._guarded():
                import wandb

                wandb.teardown()
        self._stage = card.job_type
        self._muted = False
        with self._guarded():
            self._run = self._open(card)
            prefer_own_steps(self._run, card.job_type)
            self._last_step = int(self._run.summary.get(f"{card.job_type}/step") or 0)
            # What a killed worker had not sent yet would else be a hole that no later upload can fill.
            missing = [row for row in recorded_rows(part) if row.step > self._last_step]
            for row in missing:
                pictures = {name: picture.path for name, picture in row.pictures.items()}
                log_row(self._run, card.job_type, row.step, row.metrics, pictures)
            self._last_step = max([self._last_step, *(row.step for row in missing)])

    def log(self, progress: Progress) -> None:
        """Send metrics and pictures as ``STAGE/NAME``; a step that an earlier attempt sent is skipped."""
        if self._run is None or self._muted or progress.step <= self._last_step:
            return
        with self._guarded():
            log_row(self._run, self._stage, progress.step, progress.metrics, progress.pictures)

    def end(self, outcome: str) -> None:
        """Send the outcome, and close the run."""
        if self._run is not None and not self._muted:
            with self._guarded():
                self._run.summary.update({"outcome": outcome})
        self._close(exit_code=exit_code(outcome))

    def _is_usable(self) -> bool:
        """Whether server and disk can be used; asked before each trial, so that an outage costs seconds."""
        if time.monotonic() < self._paused_until:
            return False
        reason = self._too_full() or (unreachable() if self._mode == "online" else None)
        if reason is not None:
            logger.warning("W&B is told of no trial for %.0f minutes (%s)", PAUSE_SECONDS / 60, reason)
            self._paused_until = time.monotonic() + PAUSE_SECONDS
        return reason is None

    def _too_full(self) -> str | None:
        """Why the client is not started on this disk: where it cannot write its log, it prints hundreds of lines."""
        there = next(path for path in (self._folder, *self._folder.parents) if path.exists())
        free = shutil.disk_usage(there).free / 2**20
        return f"{free:.0f} MiB are free at {there}, and {FREE_MIB} are needed" if free < FREE_MIB else None

    def _open(self, card: RunCard) -> Any:
        # Made beforehand because W&B falls back to the system's temporary folder where it cannot write.
        (self._folder / "wandb").mkdir(parents=True, exist_ok=True)
        with environment({**dict.fromkeys(OF_ONE_RUN), **own_variables(self._folder, self._mode)}):
            import wandb

            # Process-wide, so that a missing key is an error that is caught here, never a question to the terminal.
            wandb.setup(settings=wandb.Settings(mode=self._mode, silent=True))
            return wandb.init(
                dir=self._folder,
                mode=self._mode,
                project=card.project,
                id=card.run_id,
                name=card.name,
                group=card.group,
                job_type=card.job_type,
                tags=list(card.tags),
                config=dict(card.config),
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
