"""Looking inside a store: sweeps, trials, pools and reports."""

import json
import math
import re
import webbrowser
from pathlib import Path

import pytest
from PIL import Image

from helpers.commanding import Medsweep
from helpers.micro import write_micro
from medsweep.commands.inside_views import BLOCKS, sparkline
from medsweep.execution.failures import write_note
from medsweep.store.store import Store
from medsweep.study.fields import all_fields
from medsweep.study.inside import FROM_SWEEP, yaml_name


def digest_of(folder: Path, stage: str) -> str:
    return min(path.name for path in (folder / "store" / stage).iterdir())[:12]


def _whole(store: Path, stage: str) -> str:
    return min(path.name for path in (store / stage).iterdir())


def test_ls_tells_state_size_and_age(medsweep: Medsweep, finished: Path) -> None:
    told = medsweep("ls", "--store", finished / "store")
    assert told.exit_code == 0, told.output
    row = told.output.splitlines()[1].split()
    trials = len((finished / "store" / "plans" / "micro.jsonl").read_text().splitlines())
    assert row[:6] == ["micro", "finished", str(trials), "of", str(trials), "0"]
    (listed,) = json.loads(medsweep("ls", "--store", finished / "store", "--json").output)
    files = [path for path in (finished / "store").glob("*/" + "[0-9a-f]" * 64 + "/**/*") if path.is_file()]
    assert listed["bytes"] == sum(path.stat().st_size for path in files if path.name != "manifest.json")
    assert (listed["sweep"], listed["state"], listed["published"]) == ("micro", "finished", trials)


def test_ls_of_a_store_without_plans_says_what_to_do(medsweep: Medsweep, tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    assert "no sweep was planned in store yet; medsweep plan SWEEP" in medsweep("ls").output
    assert medsweep("ls", "--store", "nowhere").exit_code == 2


def test_show_tells_what_differs_from_the_defaults_and_who_is_beside(medsweep: Medsweep, finished: Path) -> None:
    where = ("--store", finished / "store")
    digest = digest_of(finished, "segment")
    told = medsweep("show", digest, *where).output
    assert re.search(r"^  segment\.steps +12$", told, re.MULTILINE)
    assert re.search(r"^  data\.resolution +16$", told, re.MULTILINE)
    assert "segment.learning_rate" not in told
    assert "replicates.scheme" not in told
    assert re.search(r"^  prepare: prepare [0-9a-f]{16}, complete$", told, re.MULTILINE)
    assert re.search(r"^  network: score [0-9a-f]{16}, complete$", told, re.MULTILINE)
    assert re.search(rf"^  loss +[{BLOCKS}]{{3,}}  \S+ -> \S+$", told, re.MULTILINE)
    whole = medsweep("show", digest, "--all", *where).output
    assert re.search(r"^  segment\.learning_rate +0\.001$", whole, re.MULTILINE)
    assert re.search(r"^  segment\.network_version +1  \(set by medsweep\)$", whole, re.MULTILINE)
    names = [line.split()[0] for line in whole.split("\nconfig\n")[1].split("\n\n")[0].splitlines()]
    assert names == sorted(names)
    wrong = medsweep("show", "zz", *where)
    assert wrong.exit_code == 2
    assert "no trial 'zz'" in wrong.output


def test_show_names_the_pictures_of_a_trial(medsweep: Medsweep, finished: Path) -> None:
    drawn = {"gan": ["real.png", "samples.png"], "synthesise": ["grid.png"], "score": ["overlay.png"]}
    for stage, names in drawn.items():
        told = medsweep("show", digest_of(finished, stage), "--store", finished / "store").output
        listed = told.split("\npictures\n")[1].split("\n\n")[0].splitlines()
        assert [Path(line.strip()).name for line in listed] == names
        assert all(Path(line.strip()).is_file() for line in listed)


def test_curves_stand_in_line_and_what_was_told_once_is_a_number(medsweep: Medsweep, finished: Path) -> None:
    store, where = finished / "store", ("--store", finished / "store")
    rows = [json.loads(line) for line in (store / "segment" / _whole(store, "segment") / "metrics.jsonl").open()]
    told = medsweep("show", digest_of(finished, "segment"), *where).output.split("\ncurves\n")[1].splitlines()
    starts = [re.match(rf"  \S+ +(?=[{BLOCKS}])", line) for line in told]
    assert len({start.end() for start in starts if start is not None}) == 1
    assert len(rows) > 1
    once = medsweep("show", digest_of(finished, "score"), *where).output.split("\ncurves\n")[1]
    assert re.search(r"^  test_dice +\S+$", once, re.MULTILINE)


def test_a_last_report_that_is_written_twice_is_shown_once(medsweep: Medsweep, copy: Path) -> None:
    path = copy / "store" / "segment" / _whole(copy / "store", "segment") / "metrics.jsonl"
    path.write_text(path.read_text() + path.read_text().splitlines()[-1] + "\n")
    told = medsweep("log", digest_of(copy, "segment"), "--store", copy / "store").output.splitlines()
    assert sum(line.startswith("step 12 of 12") for line in told) == 1


def test_show_and_log_tell_how_a_trial_failed(medsweep: Medsweep, copy: Path) -> None:
    store, where = Store.open(copy / "store"), ("--store", copy / "store")
    write_micro(copy, ("steps: 12", "steps: 16"))
    medsweep("plan", copy / "micro.yaml", *where)
    rows = [json.loads(line) for line in (copy / "store" / "plans" / "micro.jsonl").read_text().splitlines()]
    waiting = next(
        row for row in rows if row["stage"] == "segment" and not store.folder("segment", row["digest"]).is_dir()
    )
    try:
        raise MemoryError("nine GiB are not to be had")
    except MemoryError as error:
        write_note(store, "segment", waiting["digest"], error)
    told = medsweep("show", waiting["digest"][:12], *where).output
    assert f"segment {waiting['digest'][:16]}: failed" in told
    assert "out-of-memory: nine GiB are not to be had" in told
    assert "Traceback (most recent call last)" in told
    assert 'raise MemoryError("nine GiB' in medsweep("log", waiting["digest"][:12], *where).output
    assert "failed" in medsweep("ls", *where).output


def test_log_has_every_report(medsweep: Medsweep, finished: Path) -> None:
    told = medsweep("log", digest_of(finished, "segment"), "--store", finished / "store").output.splitlines()
    assert [line.split("  ")[0] for line in told[1:4]] == ["step 4 of 12", "step 8 of 12", "step 12 of 12"]
    assert told[-1].endswith(" complete")


def test_open_shows_the_report(medsweep: Medsweep, finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", lambda address: bool(opened.append(address)) or True)
    told = medsweep("open", finished / "micro.yaml", "--results", finished / "results")
    assert told.exit_code == 0, told.output
    assert opened == [(finished / "results" / "report.html").as_uri()]
    without = medsweep("open", finished / "micro.yaml")
    assert without.exit_code == 2
    assert "medsweep analyse" in without.output


def test_samples_draws_a_grid_for_each_arm_with_a_pool(medsweep: Medsweep, finished: Path, tmp_path: Path) -> None:
    where = ("--store", finished / "store", "--out", tmp_path / "seen")
    told = medsweep("samples", finished / "micro.yaml", *where)
    assert told.exit_code == 0, told.output
    assert sorted(path.name for path in (tmp_path / "seen").iterdir()) == ["b-sg-count=4.png", "mc-sg-count=4.png"]
    with Image.open(tmp_path / "seen" / "b-sg-count=4.png") as grid:
        assert grid.size[0] > grid.size[1] > 90, "four pairs beside each other"
    assert medsweep("samples", finished / "micro.yaml", *where, "--arm", "mc-sg count=4").output.count(".png") == 1
    for arm, words in (("control", "trains on real slices alone"), ("mc-sg count=5", "did you mean 'mc-sg count=4'?")):
        refused = medsweep("samples", finished / "micro.yaml", *where, "--arm", arm)
        assert refused.exit_code == 2
        assert words in refused.output


def test_diff_names_the_fields_that_differ(medsweep: Medsweep, tmp_path: Path) -> None:
    ours = write_micro(tmp_path)
    theirs = write_micro(tmp_path, ("steps: 12", "steps: 16"), ("folds: 2", "folds: 3"), name="other.yaml")
    told = medsweep("diff", ours, theirs)
    assert told.exit_code == 1
    assert [line.split() for line in told.output.splitlines()[1:]] == [
        ["replicates.folds", "2", "3"],
        ["segment.steps", "12", "16"],
    ]
    same = medsweep("diff", ours, ours)
    assert (same.exit_code, "say the same" in same.output) == (0, True)


@pytest.mark.parametrize(
    ("name", "called"),
    [
        ("segment.steps", "segment.steps"),
        ("synthesise.count", "synthesise.count"),
        ("segment.count", "synthesise.count"),
        ("prepare.phantom.seed", "data.phantom.seed"),
        ("judge.steps", "segment.steps"),
        ("embed.halvings", "assess.halvings"),
        ("diagnose.segment.snapshots", "segment.snapshots"),
        ("input pool: input generator: gan.variant", "input pool: input generator: gan.pipeline"),
        ("score.fold.validation", "replicates.validation"),
        ("input pool", "input pool"),
    ],
)
def test_fields_are_called_as_in_a_sweep_file(name: str, called: str) -> None:
    assert yaml_name(name) == called


def test_what_the_planner_hands_on_has_a_name_in_the_file() -> None:
    strangers = {"fold", "seed", "the files of the data"}
    assert set(FROM_SWEEP.values()) - strangers <= set(all_fields())


def test_a_curve_is_drawn_from_least_to_greatest() -> None:
    assert sparkline([0.0, 1.0, 0.5]) == BLOCKS[0] + BLOCKS[-1] + BLOCKS[4]
    assert sparkline([2.0, 2.0]) == BLOCKS[0] * 2
    assert sparkline([math.nan, 1.0, 2.0]) == "x" + BLOCKS[0] + BLOCKS[-1]
    assert len(sparkline([float(number) for number in range(1000)])) == 30
