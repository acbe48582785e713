"""The W&B mirror of one trial after the other, written from inside the trial's process.

The store stays the truth: what fails here is logged once and costs the trial nothing. Run ids are made of stage and
digest, and steps are explicit, so a trial that goes on after a crash extends its run and repeats no point of it.
"""

import hashlib
import logging
import netrc
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast, get_args
from urllib.parse import urlsplit

from medsweep.errors import UserError, nearest
from medsweep.identity import short
from medsweep.tracking.tracker import RunCard, Tracker, TrackingMode
from medsweep.trial import Progress

logger = logging.getLogger(__name__)

LONGEST_TAG = 64
HIDDEN = "[hidden]"

_SECRET_NAME = re.compile(r"key|token|secret|password", re.IGNORECASE)
_PERSON_NAME = re.compile(r"patient|subject|case|leave_out", re.IGNORECASE)
_HOST_PATH = re.compile(r"(?:^|(?<=[\s=:,;'\"(\[]))(?:/[^/\s]|~|[A-Za-z]:[\\/]|file:)")


class WandbTracker(Tracker):
    """Mirrors trials to W&B, which keeps all that it writes in ``folder``; the mode is that of ``resolve_mode``."""

    def __init__(self, folder: Path, mode: TrackingMode) -> None:
        self._folder = folder.absolute()
        self._mode = mode
        self._run: Any = None
        self._last_step = 0
        self._muted = False

    def begin(self, card: RunCard, last_step: int) -> None:
        """Open the run of a trial, or the next segment of it; steps up to ``last_step`` are there already."""
        if self._mode == "disabled":
            return
        self._close(exit_code=1)
        if self._muted:
            # W&B's helper process may be dead, or hold the id of a run that failed to open; a new one cures both.
            with self._guarded():
                import wandb

                wandb.teardown()
        self._last_step = last_step
        self._muted = False
        with self._guarded():
            self._run = self._open(card)
            self._last_step = max(last_step, self._run.starting_step - 1)

    def log(self, progress: Progress) -> None:
        """Send metrics and pictures (as ``pictures/<name>``) at their step; a step that was sent before is skipped."""
        if self._run is None or self._muted or progress.step <= self._last_step:
            return
        with self._guarded():
            import wandb

            pictures = {f"pictures/{name}": wandb.Image(str(path)) for name, path in progress.pictures.items()}
            self._run.log({**progress.metrics, **pictures}, step=progress.step)
            self._last_step = progress.step

    def end(self, outcome: str, summary: Mapping[str, float]) -> None:
        """Send the summary and the outcome, and close the run: exit code 0 where it is ``complete``, else 1."""
        if self._run is not None and not self._muted:
            with self._guarded():
                self._run.summary.update({**summary, "outcome": outcome})
        self._close(exit_code=0 if outcome == "complete" else 1)

    def _open(self, card: RunCard) -> Any:
        # Made beforehand because W&B falls back to the system's temporary folder where it cannot write.
        (self._folder / "wandb").mkdir(parents=True, exist_ok=True)
        with environment(_own_folders(self._folder, self._mode)):
            import wandb

            # Process-wide, so that a missing key is an error that is caught here, never a question to the terminal.
            wandb.setup(settings=wandb.Settings(silent=True))
            return wandb.init(
                dir=self._folder,
                mode=self._mode,
                project=card.sweep,
                id=f"{card.stage}-{short(card.digest)}",
                name=_readable_name(card),
                group=_clipped(card.group),
                job_type=card.stage,
                tags=_tags(card),
                config=_run_config(card),
                resume="allow",
                reinit="create_new",
                settings=_quiet_settings(),
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


def resolve_mode(flag: str | None) -> TrackingMode:
    """The W&B mode: ``flag``, else ``WANDB_MODE``, else online for a user who is logged in, else offline.

    Raises:
        UserError: the flag or the variable names no mode.
    """
    for source, value in (("the W&B mode", flag), ("WANDB_MODE", os.environ.get("WANDB_MODE"))):
        if not value:
            continue
        if value not in get_args(TrackingMode):
            hint = nearest(value, get_args(TrackingMode))
            raise UserError(f"{source} must be offline, online or disabled, got {value!r}; {hint}")
        return cast(TrackingMode, value)
    return "online" if _logged_in() else "offline"


def redacted(value: object, name: str = "") -> Any:
    """``value`` as JSON values, without what must not leave this host.

    Hidden are: everything under a name that speaks of a key, token, secret or password; texts and collections under
    a name that speaks of patients, subjects, cases or who is left out (a number of patients stays); texts that
    contain an absolute path.

    Raises:
        TypeError: a value has no JSON form.
    """
    if _must_stay(value, name):
        return HIDDEN
    if isinstance(value, Mapping):
        return {redacted(str(key)): redacted(item, str(key)) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [redacted(item) for item in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"{name or 'a value'} is a {type(value).__name__}, which has no JSON form")


def _must_stay(value: object, name: str) -> bool:
    if _SECRET_NAME.search(name):
        return True
    if _PERSON_NAME.search(name):
        return not (value is None or isinstance(value, bool | int | float))
    return isinstance(value, str) and _HOST_PATH.search(value) is not None


def _run_config(card: RunCard) -> dict[str, Any]:
    about = {name: getattr(card, name) for name in ("stage", "digest", "arms", "fold", "seed", "inputs")}
    return {**redacted(card.config), "medsweep": about}


def _tags(card: RunCard) -> list[str]:
    tags = [*card.arms, *(f"{name}-{number}" for name, number in _replicate(card))]
    return list(dict.fromkeys(_clipped(tag) for tag in tags))


def _readable_name(card: RunCard) -> str:
    arms = card.arms[0] if len(card.arms) == 1 else f"{len(card.arms)} arms"
    shown = [f"{name} {number}" for name, number in _replicate(card)]
    return " ".join([card.stage, _clipped(arms), *shown, card.digest[:6]])


def _replicate(card: RunCard) -> list[tuple[str, int]]:
    return [(name, number) for name, number in (("fold", card.fold), ("seed", card.seed)) if number is not None]


def _clipped(text: str) -> str:
    """``text``, or its beginning and a hash of it all where it is longer than a tag may be."""
    if len(text) <= LONGEST_TAG:
        return text
    return f"{text[: LONGEST_TAG - 9]}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def _quiet_settings() -> Any:
    import wandb

    return wandb.Settings(
        silent=True,
        console="off",
        disable_code=True,
        disable_git=True,
        host="",
        # A server that does not answer costs a trial no more than this; the rest is on disk for `wandb sync`.
        init_timeout=30.0,
        finish_timeout=60.0,
        stop_fn=_refuse_stop,
        x_disable_machine_info=True,
        x_disable_meta=True,
        x_disable_stats=True,
        x_save_requirements=False,
        # Of a killed trial, the last two seconds are missing instead of the last fifteen.
        x_transaction_log_flush_interval=2.0,
    )


def _refuse_stop() -> None:
    logger.warning(
        "the stop asked for on the W&B page is ignored: W&B is a mirror; stop the sweep where it was started"
    )


@contextmanager
def environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Set ``variables``, and put back what was there before when the block ends."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def _own_folders(folder: Path, mode: TrackingMode) -> dict[str, str]:
    names = {"WANDB_DATA_DIR": "data", "WANDB_CACHE_DIR": "cache", "WANDB_ARTIFACT_DIR": "artifacts"}
    if mode == "offline":
        # Online, the user's own settings stay in force: they name the server and the team.
        names["WANDB_CONFIG_DIR"] = "config"
    return {variable: str(folder / name) for variable, name in names.items()}


def _logged_in() -> bool:
    if os.environ.get("WANDB_API_KEY"):
        return True
    host = urlsplit(os.environ.get("WANDB_BASE_URL") or "https://api.wandb.ai").hostname or ""
    path = Path(os.environ.get("NETRC") or Path.home() / ".netrc")
    try:
        return path.exists() and host in netrc.netrc(path).hosts
    except (OSError, netrc.NetrcParseError) as error:
        logger.warning("W&B stays offline, since the login in %s cannot be read: %s", path, error)
        return False
