"""The commands as a user types them, on the smallest real sweep."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
import pytest

from helpers.commanding import Medsweep, decathlon
from helpers.micro import write_micro
from medsweep.study.session import open_sweep
from medsweep.study.stages import STAGES


def test_the_run_ends_with_the_report(finished: Path) -> None:
    page = (finished / "results" / "report.html").read_text()
    assert "Does the whole way hold?" in page
    table = pd.read_parquet(finished / "results" / "results.parquet")
    assert list(table["arm"].unique()) == ["control", "b-sg count=4", "mc-sg count=4"]
    assert table.groupby("arm")["patient"].nunique().tolist() == [6, 6, 6]
    assert set(table["metric"]) == {"dice", "hd95_mm", "assd_mm", "surface_dice"}
    assert list(pd.read_csv(finished / "results" / "results.csv").columns) == list(table.columns)
    assert json.loads((finished / "results" / "analysis.json").read_text())["control"] == "control"


def test_every_trial_is_mirrored_in_wandb_under_its_own_id(finished: Path) -> None:
    ids = [
        path.name.removeprefix("run-").removesuffix(".wandb")
        for path in (finished / "store" / "wandb").rglob("run-*.wandb")
    ]
    trials = [path.parent for path in (finished / "store").glob("*/*/manifest.json")]
    assert sorted(ids) == sorted(["report-micro", *(f"{trial.parent.name}-{trial.name[:16]}" for trial in trials)])


def test_a_second_run_runs_no_trial_and_gives_the_same_tables(medsweep: Medsweep, copy: Path) -> None:
    before = {path.name: path.read_bytes() for path in (copy / "results").glob("*.parquet")}
    ran = medsweep("run", copy / "micro.yaml", "--store", copy / "store", "--results", copy / "results")
    assert ran.exit_code == 0, ran.output
    assert "ran no trial" in ran.output
    assert {path.name: path.read_bytes() for path in (copy / "results").glob("*.parquet")} == before


def test_a_level_added_runs_only_the_new_trials(medsweep: Medsweep, copy: Path) -> None:
    write_micro(copy, ("[4]", "[4, 8]"))
    plan = medsweep("plan", copy / "micro.yaml", "--store", copy / "store").output
    ran = medsweep(
        "run", copy / "micro.yaml", "--store", copy / "store", "--results", copy / "results", "--runner", "local"
    )
    assert "ran 4 synthesise, 4 assess, 4 segment" in " ".join(ran.output.split()) or all(
        text in ran.output for text in ("4 synthesise", "4 assess", "4 segment")
    )
    assert "gan," not in ran.output.split("reused")[0]
    assert "not in the store" in plan


def test_a_new_version_of_the_scores_trains_and_assesses_nothing_again(
    medsweep: Medsweep, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = pd.read_parquet(copy / "results" / "results.parquet")
    newer = replace(STAGES["score"], version=STAGES["score"].version + 1)
    monkeypatch.setitem(STAGES, "score", newer)  # type: ignore[arg-type]
    session = open_sweep(copy / "micro.yaml", copy / "store")
    actions = Counter((trial.stage, session.decisions[digest].action) for digest, trial in session.plan.trials.items())
    assert {stage for stage, action in actions if action == "run"} == {"score"}
    assert actions["score", "run"] == actions["segment", "reuse"] == 6
    assert actions["assess", "reuse"] == 4
    ran = medsweep(
        "run", copy / "micro.yaml", "--store", copy / "store", "--results", copy / "results", "--runner", "local"
    )
    assert "ran 6 score;" in " ".join(ran.output.split()), ran.output
    after = pd.read_parquet(copy / "results" / "results.parquet")
    assert not set(after["digest"]) & set(before["digest"])
    pd.testing.assert_frame_equal(after.drop(columns="digest"), before.drop(columns="digest"))


def test_two_sweeps_share_what_they_have_in_common(medsweep: Medsweep, copy: Path) -> None:
    other = write_micro(copy, ("sweep: micro", "sweep: other"), ("[b-sg, mc-sg]", "[b-sg]"), name="other.yaml")
    ran = medsweep("run", other, "--store", copy / "store", "--results", copy / "other")
    assert ran.exit_code == 0, ran.output
    assert "ran no trial" in ran.output


def test_plan_counts_what_sharing_saves(medsweep: Medsweep, finished: Path) -> None:
    shown = medsweep("plan", finished / "micro.yaml", "--store", finished / "elsewhere").output
    table = shown[: shown.index("digest")].splitlines()
    rows = {line.split()[0]: line.split()[1:6] for line in table if line.split()}
    assert rows["prepare"][:2] == ["1", "6"]
    assert rows["gan"][:2] == ["6", "6"]
    assert rows["segment"][:2] == ["6", "6"]
    assert rows["all"][2] == "0"


def test_status_and_results_and_report_read_the_store(medsweep: Medsweep, copy: Path) -> None:
    where = ("--store", copy / "store")
    shown = medsweep("status", copy / "micro.yaml", *where).output
    assert next(line for line in shown.splitlines() if line.startswith("gan")).split() == [
        "gan",
        "6",
        "0",
        "0",
        "0",
        "0",
    ]
    wrote = medsweep("results", copy / "micro.yaml", *where, "--results", copy / "again").output.split()
    assert Path(wrote[0]).read_bytes() == (copy / "results" / "results.parquet").read_bytes()
    told = medsweep("analyse", copy / "micro.yaml", *where, "--results", copy / "again").output
    page = (copy / "again" / "report.html").read_text()
    assert told.splitlines()[-1] == f"report: {copy / 'again' / 'report.html'}"
    digest = Path(next((copy / "store" / "score").iterdir())).name[:16]
    assert f"score-{digest}" in page, "a network behind the numbers, by its W&B run"
    assert f"medsweep show {digest} --store" in page


def test_analyse_writes_markdown_and_latex_too(medsweep: Medsweep, copy: Path) -> None:
    where = ("--store", copy / "store", "--results", copy / "again")
    done = medsweep("analyse", copy / "micro.yaml", *where, "--format", "markdown", "--format", "latex")
    assert done.exit_code == 0, done.output
    assert (copy / "again" / "report.md").read_text().startswith("# micro")
    assert "\\begin{document}" in (copy / "again" / "report.tex").read_text()
    assert not (copy / "again" / "report.html").exists()


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("micro.yaml", "--format", "htm"), "no format 'htm'; did you mean 'html'?"),
        (("micro.yaml", "micro.yaml"), "two of the files are sweeps called 'micro'"),
        (("micro.yaml", "other.yaml"), "data set 'phantom (made up)' occurs twice"),
        (("mirco.yaml",), "mirco.yaml"),
    ],
)
def test_analyse_says_in_one_line_what_it_cannot_do(
    medsweep: Medsweep, copy: Path, words: tuple[str, ...], complaint: str
) -> None:
    write_micro(copy, ("sweep: micro", "sweep: other"), ("[b-sg, mc-sg]", "[b-sg]"), name="other.yaml")
    given = [copy / word if word.endswith(".yaml") else word for word in words]
    done = medsweep("analyse", *given, "--store", copy / "store", "--results", copy / "again")
    assert done.exit_code == 2
    assert complaint in done.output.splitlines()[-1]
    assert "Traceback" not in done.output
    assert not (copy / "again").exists()


def test_predictions_overlay_the_labels_and_agree_with_the_table(medsweep: Medsweep, copy: Path) -> None:
    where = ("--store", copy / "store", "--out", copy / "seen")
    wrote = medsweep("predict", copy / "micro.yaml", *where, "--arm", "b-sg count=4").output.split("\n")[:-1]
    assert len(wrote) == 6
    assert len({Path(path).parent for path in wrote}) == 2
    table = pd.read_parquet(copy / "results" / "results.parquet")
    labels = decathlon(copy) / "labelsTr"
    for path in map(Path, wrote):
        patient = path.name.removesuffix(".nii.gz")
        label = labels / f"{patient}.nii.gz"
        reference, seen = (np.asarray(nibabel.load(file).dataobj) for file in (label, path))
        assert np.array_equal(nibabel.load(label).affine, nibabel.load(path).affine)
        rows = table[(table["arm"] == "b-sg count=4") & (table["patient"] == patient)].drop_duplicates("class")
        assert sorted(rows["n_pred"]) == sorted(int((seen == value).sum()) for value in (1, 2))
        assert sorted(rows["tp"]) == sorted(int(((seen == value) & (reference == value)).sum()) for value in (1, 2))
    wrong = medsweep("predict", copy / "micro.yaml", *where, "--arm", "b-sg count=5")
    assert wrong.exit_code == 2
    assert "did you mean 'b-sg count=4'?" in wrong.output


def test_why_names_the_field_that_differs(medsweep: Medsweep, copy: Path) -> None:
    write_micro(copy, ("steps: 12", "steps: 16"))
    planned = medsweep("plan", copy / "micro.yaml", "--store", copy / "store", "--all").output
    digest = next(line for line in planned.splitlines() if line.startswith("segment") and " run " in line).split()[-6]
    told = medsweep("why", digest, "--store", copy / "store").output
    assert "segment.steps: 16 here, 12 there" in told
    assert "is not published" in told
    wrong = medsweep("why", "zz", "--store", copy / "store")
    assert wrong.exit_code == 2
    assert "no trial 'zz' in the plan or in the store" in wrong.output


def test_plan_and_why_say_what_other_code_and_other_versions_published(medsweep: Medsweep, copy: Path) -> None:
    for path in (copy / "store" / "segment").glob("*/manifest.json"):
        manifest = json.loads(path.read_text())
        manifest["code"]["medsweep/trainers/segmentation/train.py"] = "0" * 16
        path.write_text(json.dumps(manifest))
        digest = path.parent.name
    other_code = "published by other code: medsweep/trainers/segmentation/train.py differs"
    planned = medsweep("plan", copy / "micro.yaml", "--store", copy / "store").output
    assert f"6 segment trials {other_code}" in planned
    assert "nothing is to run" in planned
    assert other_code in medsweep("why", digest, "--store", copy / "store").output
    for path in (copy / "store" / "segment").glob("*/manifest.json"):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"version": 1}))
    write_micro(copy, ("steps: 12", "steps: 16"))
    planned = medsweep("plan", copy / "micro.yaml", "--store", copy / "store").output
    version = STAGES["segment"].version
    assert f"store holds 6 segment trials of version 1; version {version} is needed, so they are not reused" in planned


def test_a_damaged_array_is_named_set_aside_and_made_again(medsweep: Medsweep, copy: Path) -> None:
    masks = next((copy / "store" / "prepare").glob("*/output/masks.npy"))
    masks.write_bytes(masks.read_bytes()[:-1] + b"\x07")
    write_micro(copy, ("steps: 12", "steps: 8"))
    ran = medsweep(
        "run", copy / "micro.yaml", "--store", copy / "store", "--results", copy / "results", "--runner", "local"
    )
    assert ran.exit_code == 0, ran.output
    assert "masks.npy does not match its sha256" in ran.output
    assert "1 prepare" in ran.output
    assert list((copy / "store" / "damaged").iterdir())


def test_results_are_not_read_from_a_damaged_trial(medsweep: Medsweep, copy: Path) -> None:
    for name in (
        "score/*/output/metrics.parquet",
        "assess/*/output/pool_metrics.json",
        "segment/*/output/exposure.json",
    ):
        file = next((copy / "store").glob(name))
        sound = file.read_bytes()
        file.write_bytes(sound[:-8] + b'    "x"\n')
        told = medsweep("results", copy / "micro.yaml", "--store", copy / "store", "--results", copy / "results")
        assert told.exit_code == 2, told.output
        assert f"{file.name} does not match its sha256; medsweep run sets it aside" in told.output
        file.write_bytes(sound)


def test_a_torn_manifest_is_named_and_its_trial_run_again(medsweep: Medsweep, copy: Path) -> None:
    manifest = next((copy / "store" / "score").glob("*/manifest.json"))
    manifest.write_text(manifest.read_text()[:40])
    ran = medsweep(
        "run", copy / "micro.yaml", "--store", copy / "store", "--results", copy / "results", "--runner", "local"
    )
    assert ran.exit_code == 0, ran.output
    assert "manifest.json cannot be read" in ran.output
    assert "ran 1 score" in ran.output


@pytest.mark.parametrize(("verb", "default"), [("run", "[results/NAME]"), ("run", "[offline unless logged in]")])
def test_help_shows_defaults_in_brackets(medsweep: Medsweep, monkeypatch: pytest.MonkeyPatch, verb: str, default: str):
    monkeypatch.setenv("COLUMNS", "200")
    assert default in medsweep(verb, "--help").output
