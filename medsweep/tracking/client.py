"""How W&B's client is set up here: all that it writes is in one folder, and offline it sends nothing."""

import html
import logging
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from medsweep.tracking.mirrored_run import PlainTable
from medsweep.tracking.tracker import Scalar, TrackingMode

INIT_SECONDS, FINISH_SECONDS = 15.0, 15.0
"""A server that does not answer costs a trial no more than these at its beginning and its end."""

OF_ONE_RUN: Final = tuple(
    f"WANDB_{name}"
    for name in (
        "CONSOLE", "JOB_TYPE", "NAME", "NOTES", "PROJECT", "QUIET", "RESUME", "RUN_GROUP", "RUN_ID", "SILENT",
        "SWEEP_ID", "TAGS",
    )
)  # fmt: skip
"""Variables by which users tell W&B's client of a run of their own, which the runs of a sweep are not."""

logger = logging.getLogger(__name__)


def prefer_own_steps(run: Any, stage: str) -> None:
    """Have ``STAGE/step`` as the x of all that the stage logs, since W&B counts its own steps as it likes."""
    run.define_metric(f"{stage}/step", hidden=True)
    run.define_metric(f"{stage}/*", step_metric=f"{stage}/step")


def log_row(
    run: Any,
    stage: str,
    step: int,
    metrics: Mapping[str, float],
    pictures: Mapping[str, Path],
    *,
    number: int | None = None,
) -> None:
    """Log one report of a trial: metrics, and PNG files, which are copied; W&B counts it as ``number``, or the next."""
    import wandb

    images = {name: wandb.Image(str(path)) for name, path in pictures.items()}
    named = {f"{stage}/{name}": value for name, value in {**metrics, **images}.items()}
    # The client names files after the number of the next report, which is right only where this one is closed.
    run.log({f"{stage}/step": step} | named, step=number, commit=True)


def log_extras(run: Any, stage: str, tables: Mapping[str, PlainTable], pages: Mapping[str, str]) -> None:
    """Log tables and HTML pages once.

    Tables are sent as HTML. A ``wandb.Table`` becomes an artifact, and the client sends the path on this host of each
    file of an artifact with its manifest (wandb 0.31).
    """
    import wandb

    texts = {f"tables/{name}": _as_html(table) for name, table in tables.items()} | dict(pages)
    if texts:
        run.log({f"{stage}/{name}": wandb.Html(text, inject=False) for name, text in texts.items()})


def _as_html(table: PlainTable) -> str:
    def line(cells: Iterable[Scalar], kind: str) -> str:
        shown = ("" if cell is None else f"{cell:.6g}" if isinstance(cell, float) else str(cell) for cell in cells)
        return "<tr>" + "".join(f"<{kind}>{html.escape(text)}</{kind}>" for text in shown) + "</tr>\n"

    body = "".join(line(row, "td") for row in table.rows)
    return f'<meta charset="utf-8"><table border="1">\n{line(table.columns, "th")}{body}</table>\n'


def quiet_settings() -> Any:
    """Settings under which a run tells what it is given, and nothing of the machine or the code."""
    import wandb

    return wandb.Settings(
        silent=True,
        console="off",
        disable_code=True,
        disable_git=True,
        host="",
        init_timeout=INIT_SECONDS,
        finish_timeout=FINISH_SECONDS,
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


def own_variables(folder: Path, mode: TrackingMode) -> dict[str, str]:
    """Environment variables that keep the client's files below ``folder``, and its errors and paths on this host."""
    names = {"WANDB_DATA_DIR": "data", "WANDB_CACHE_DIR": "cache", "WANDB_ARTIFACT_DIR": "artifacts"}
    if mode == "offline":
        # Online, the user's own settings stay in force: they name the server and the team.
        names["WANDB_CONFIG_DIR"] = "config"
    # An error inside the client would else be reported to its makers, with a stack that names paths of this host.
    # Without a program of its own, the client sends the path of the executable.
    kept = {"WANDB_ERROR_REPORTING": "false", "WANDB_PROGRAM": "medsweep"}
    return kept | {variable: str(folder / name) for variable, name in names.items()}


@contextmanager
def offline_client(folder: Path) -> Iterator[Callable[[], None]]:
    """W&B's client in a state in which it sends nothing; yields what starts its helper process anew.

    ``folder`` is of no use afterwards.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _tear_down()
    # What the user set for runs of their own, as an id or tags, is not for these.
    theirs: dict[str, str | None] = dict.fromkeys(name for name in os.environ if name.startswith("WANDB_"))
    with environment({**theirs, **own_variables(folder, "offline")}):
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
