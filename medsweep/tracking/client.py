"""How W&B's client is set up here: all that it writes is in one folder, and offline it sends nothing."""

import logging
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from medsweep.tracking.mirrored_run import PlainTable
from medsweep.tracking.tracker import TrackingMode

logger = logging.getLogger(__name__)


def prefer_own_steps(run: Any, stage: str) -> None:
    """Have ``STAGE/step`` as the x of all that the stage logs, since W&B counts its own steps as it likes."""
    run.define_metric(f"{stage}/step", hidden=True)
    run.define_metric(f"{stage}/*", step_metric=f"{stage}/step")


def log_row(run: Any, stage: str, step: int, metrics: Mapping[str, float], pictures: Mapping[str, Path]) -> None:
    """Log one report of a trial: metrics, and PNG files, which are copied."""
    import wandb

    images = {name: wandb.Image(str(path)) for name, path in pictures.items()}
    run.log({f"{stage}/step": step} | {f"{stage}/{name}": value for name, value in {**metrics, **images}.items()})


def log_extras(run: Any, stage: str, tables: Mapping[str, PlainTable], pages: Mapping[str, str]) -> None:
    """Log tables and HTML pages once."""
    import wandb

    told: dict[str, Any] = {
        f"{stage}/tables/{name}": wandb.Table(columns=list(table.columns), data=[list(row) for row in table.rows])
        for name, table in tables.items()
    }
    told |= {f"{stage}/{name}": wandb.Html(text, inject=False) for name, text in pages.items()}
    if told:
        run.log(told)


def quiet_settings() -> Any:
    """Settings under which a run tells what it is given, and nothing of the machine or the code."""
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
def environment(variables: Mapping[str, str | None]) -> Iterator[None]:
    """Set ``variables``, or remove those that are None, and put back what was there before when the block ends."""
    before = {name: os.environ.get(name) for name in variables}
    _set(variables)
    try:
        yield
    finally:
        _set(before)


def _set(variables: Mapping[str, str | None]) -> None:
    for name, value in variables.items():
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value


def own_variables(folder: Path, mode: TrackingMode) -> dict[str, str | None]:
    """Environment variables that keep the client's files below ``folder`` and its errors on this host."""
    names = {"WANDB_DATA_DIR": "data", "WANDB_CACHE_DIR": "cache", "WANDB_ARTIFACT_DIR": "artifacts"}
    if mode == "offline":
        # Online, the user's own settings stay in force: they name the server and the team.
        names["WANDB_CONFIG_DIR"] = "config"
    # An error inside the client would else be reported to its makers, with a stack that names paths of this host.
    return {"WANDB_ERROR_REPORTING": "false", **{variable: str(folder / name) for variable, name in names.items()}}


@contextmanager
def offline_client(folder: Path, staging: Path) -> Iterator[Callable[[], None]]:
    """W&B's client in a state in which it sends nothing; yields what starts its helper process anew.

    ``folder`` is of no use afterwards. In ``staging`` are the contents of tables until they are uploaded.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _tear_down()
    # What the user set for runs of their own, as an id or tags, is not for these.
    theirs: dict[str, str | None] = dict.fromkeys(name for name in os.environ if name.startswith("WANDB_"))
    with environment(theirs | own_variables(folder, "offline") | {"WANDB_DATA_DIR": str(staging)}):
        import wandb

        def begin_anew() -> None:
            _tear_down()
            # Without a mode, setting up alone already sends two posts.
            wandb.setup(settings=wandb.Settings(mode="offline", silent=True))

        begin_anew()
        try:
            yield begin_anew
        finally:
            _tear_down()


def _tear_down() -> None:
    """End W&B's helper process, which has written all by then."""
    if "wandb" in sys.modules:
        with suppress(Exception):
            sys.modules["wandb"].teardown()
