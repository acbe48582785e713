"""``--json``, ``--quiet``, completion, and the order of the help."""

import json
import math
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer.main

from helpers.commanding import Medsweep, decathlon
from helpers.micro import write_micro
from medsweep.cli import VERBS, app
from medsweep.commands.documents import plain


def document(medsweep: Medsweep, *words: object) -> dict:  # type: ignore[type-arg]
    told = medsweep(*words, "--json")
    assert told.exit_code == 0, told.output
    return dict(json.loads(told.stdout))


def test_plan_and_status_agree_with_each_other(medsweep: Medsweep, finished: Path) -> None:
    where = (finished / "micro.yaml", "--store", finished / "store")
    planned, now = document(medsweep, "plan", *where), document(medsweep, "status", *where)
    assert [arm["name"] for arm in planned["arms"] if arm["control"]] == ["control"]
    stages = Counter(trial["stage"] for trial in planned["trials"])
    assert {stage: states["published"] for stage, states in now["stages"].items()} == stages
    assert {row["stage"]: row["trials"] for row in planned["stages"]} == stages
    assert {trial["action"] for trial in planned["trials"]} == {"reuse"}
    assert (now["failures"], now["dead"]) == ([], [])


def test_plan_without_a_store_has_a_price(medsweep: Medsweep, tmp_path: Path) -> None:
    planned = document(medsweep, "plan", write_micro(tmp_path), "--store", tmp_path / "store")
    assert planned["forecast"]["trials"] == len(planned["trials"]) > 20
    assert {trial["action"] for trial in planned["trials"]} == {"run"}


def test_results_and_why_are_documents_too(medsweep: Medsweep, finished: Path, tmp_path: Path) -> None:
    where = ("--store", finished / "store")
    wrote = document(medsweep, "results", finished / "micro.yaml", *where, "--results", tmp_path / "tables")
    assert (tmp_path / "tables" / "results.parquet").as_posix() in wrote["files"]
    digest = min(path.name for path in (finished / "store" / "gan").iterdir())
    told = document(medsweep, "why", digest[:12], *where)
    assert (told["digest"], told["published"], told["outcome"]) == (digest, True, "complete")
    assert told["differences"], "the nearest other generator has another fold or variant"
    assert "is published, complete" in " ".join(medsweep("why", digest[:12], *where).output.split())


def test_data_check_is_a_document(medsweep: Medsweep, tmp_path: Path) -> None:
    root = decathlon(tmp_path)
    told = document(medsweep, "data", "check", "mine", "--root", root)
    assert (told["ok"], told["cases"], told["unusable"]) == (True, 6, [])
    sorted((root / "labelsTr").glob("*.nii.gz"))[0].unlink()
    broken = medsweep("data", "check", "mine", "--root", root, "--json")
    assert broken.exit_code == 1
    assert any(one["severity"] == "error" for one in json.loads(broken.stdout)["findings"])


def test_a_quiet_run_tells_where_the_report_is(medsweep: Medsweep, copy: Path) -> None:
    where = ("--store", copy / "store", "--results", copy / "results", "--runner", "local")
    write_micro(copy, ("folds: 2", "folds: 2, only: [0]"))
    told = medsweep("run", copy / "micro.yaml", *where, "--quiet")
    assert told.exit_code == 0, told.output
    assert told.output.splitlines() == [f"report: {copy / 'results' / 'report.html'}"]


def test_numbers_that_json_lacks_are_null() -> None:
    values = {"a": math.nan, "b": [math.inf, np.float64(0.5)], "c": Path("x/y"), "d": np.int64(3)}
    assert plain(values) == {"a": None, "b": [None, 0.5], "c": "x/y", "d": 3}


def test_help_lists_the_commands_in_the_order_of_work(medsweep: Medsweep, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    told = medsweep("--help").output
    places = [told.index(f"\u2500 {panel} \u2500") for panel in VERBS]
    assert places == sorted(places)
    assert told.index("plan  ") < told.index("analyse  ") < told.index("show  ") < told.index("gc  ")
    assert "--install-completion" in told


@pytest.mark.parametrize(
    ("words", "default"),
    [
        (("plan",), "[default: store]"),
        (("run",), "[default: ray]"),
        (("samples",), "[results/NAME/samples]"),
        (("retry",), "[all]"),
        (("data", "check"), "[default: 2]"),
    ],
)
def test_help_shows_defaults(
    medsweep: Medsweep, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], default: str
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert default in medsweep(*words, "--help").output


def commands_of(group: Any) -> Iterator[Any]:
    for command in group.commands.values():
        yield from commands_of(command) if hasattr(command, "commands") else [command]


def test_every_command_takes_the_store_alike() -> None:
    options = [
        option
        for command in commands_of(typer.main.get_command(app))
        for option in command.params
        if "--store" in option.opts and command.name != "launch"
    ]
    assert len(options) > 15
    assert {(option.default, option.envvar, option.help) for option in options} == {
        ("store", "MEDSWEEP_STORE", "Folder of the finished trials, or a bucket: s3://, gs:// or az://.")
    }


def test_help_shows_kinds_only_of_what_takes_a_value(medsweep: Medsweep, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    told = medsweep("run", "--help").output
    assert "run [OPTIONS] SWEEP" in told
    assert "<float range>" in told
    assert "bool" not in told + medsweep("--help").output + medsweep("data", "--help").output
