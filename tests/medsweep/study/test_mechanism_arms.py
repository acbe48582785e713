"""A section ``mechanism:`` stands for arms: a lattice of measured laws, other doses, steps that are about a cause."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pandas as pd
import pytest

from medsweep.errors import UserError
from medsweep.files import sha256_of
from medsweep.mechanism import CELLS
from medsweep.store.store import Store
from medsweep.study.chains import network_of
from medsweep.study.mechanism_arms import treatments_of
from medsweep.study.plan import PlannedSweep, plan_sweep
from medsweep.study.tables import pool_table, profile_curves
from medsweep.trainers.pool import EDGES, PROFILE, VARIETY
from medsweep.trial import COMPLETE

SWEEP = """\
sweep: why
question: Why?
data:
  dataset: phantom
  phantom: {patients: 24, seed: 3, shape: [20, 18, 8], spacing_mm: [2.0, 2.0, 4.0]}
  resolution: 16
  patients: 4
replicates: {folds: 2, only: [0], seeds: 1, validation: 0.2}
control: real
arms:
  real: {synthesise.count: 0}
  same real: {treat.treatments: [{kind: duplicate-real}]}
  new real: {treat.treatments: [{kind: fresh-real}]}
  images: {gan.pipeline: c-sg, synthesise.masks: held-out, treat.treatments: [{kind: relabel}]}
  images + misfit: {gan.pipeline: c-sg, synthesise.masks: held-out}
  mc-sg: {gan.pipeline: mc-sg}
mechanism:
  explain: mc-sg
  exposure: same real
  ceiling: new real
  ladder: [new real, images, images + misfit, mc-sg]
  SECTION
fixed:
  gan: {kimg: 0.032, batch_size: 8, channel_base: 128, channel_max: 8, latent_dim: 8, path_length_weight: 0.0}
  synthesise: {count: 8}
  segment: {steps: 12, batch_size: 4, channels: [4, 8], residual_units: 0, snapshots: 3}
analysis: {primary: dice, margin: 0.05}
"""
NAMED = ["real", "same real", "new real", "images", "images + misfit", "mc-sg"]


def planned(folder: Path, section: str, *changes: tuple[str, str]) -> PlannedSweep:
    text = SWEEP.replace("SECTION", section)
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    (folder / "why.yaml").write_text(text)
    return plan_sweep(folder / "why.yaml", Store.create(folder / "store"))


def test_causes_make_the_seven_arms_of_the_lattice(tmp_path: Path) -> None:
    plan = planned(tmp_path, "causes: [labels, look, variety]")
    assert [arm.name for arm in plan.arms] == [*NAMED, *CELLS]
    section = plan.sweep.file.mechanism
    assert section is not None
    assert section.lattice == {cell: cell for cell in CELLS}
    kinds = {arm.name: [one.kind for one in arm.settings.treat.treatments] for arm in plan.arms}
    assert kinds["variety"] == ["fresh-real"]
    assert kinds["labels"] == ["fresh-real", "corrupt-labels"]
    assert kinds["all three"] == ["fresh-real", "imitate", "corrupt-labels"]


def test_cells_read_pool_and_law_of_the_explained_arm_in_their_own_fold_and_seed(tmp_path: Path) -> None:
    plan = planned(tmp_path, "causes: [labels, look, variety]", ("seeds: 1", "seeds: 2")).plan
    for (arm, replicate), leaf in plan.leaves.items():
        if arm not in CELLS:
            continue
        pool = plan.trials[plan.trials[leaf].inputs["network"]].inputs["pool"]
        explained = plan.trials[plan.trials[plan.leaves["mc-sg", replicate]].inputs["network"]].inputs["pool"]
        reads = plan.trials[pool].inputs
        assert plan.trials[reads["law"]].inputs["pool"] == explained
        if "look" in CELLS[arm]:
            assert reads["pool"] == explained


def test_cells_are_diagnosed_where_snapshots_are_kept(tmp_path: Path) -> None:
    trials = planned(tmp_path, "causes: [labels, look, variety]").plan.trials.values()
    # all arms but the control have a pool
    assert sum(trial.stage == "diagnose" for trial in trials) == len(NAMED) - 1 + len(CELLS)


def test_pools_of_ladder_and_ceiling_are_profiled_and_nothing_reads_that(tmp_path: Path) -> None:
    plan = planned(tmp_path, "causes: [labels, look, variety]").plan
    profiles = {digest: trial for digest, trial in plan.trials.items() if trial.stage == "profile"}
    wanted = {
        plan.trials[network_of(plan, leaf).digest].inputs["pool"]
        for (arm, _), leaf in plan.leaves.items()
        if arm in {"new real", "images", "images + misfit", "mc-sg"}
    }
    assert {trial.inputs["pool"] for trial in profiles.values()} == wanted
    assert not any(set(trial.inputs.values()) & set(profiles) for trial in plan.trials.values())
    judged = {trial.inputs["pool"]: trial.inputs for trial in plan.trials.values() if trial.stage == "assess"}
    assert all(trial.inputs.items() <= judged[trial.inputs["pool"]].items() for trial in profiles.values())


class _Profiled:
    """A store in which every profile is published, and nothing else."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def outcome(self, stage: str, digest: str) -> str | None:
        return COMPLETE if stage == "profile" else None

    def manifest(self, stage: str, digest: str) -> SimpleNamespace:
        files = {f"output/{path.name}": sha256_of(path) for path in self.output(stage, digest).iterdir()}
        return SimpleNamespace(folder=self.folder / stage / digest, files=files)

    def folder_with(self, manifest: SimpleNamespace, suffixes: tuple[str, ...]) -> Path:
        return Path(manifest.folder)

    def output(self, stage: str, digest: str) -> Path:
        output = self.folder / stage / digest / "output"
        if stage == "profile" and not output.is_dir():
            output.mkdir(parents=True)
            (output / PROFILE).write_text(json.dumps({"law_edge_offset_px": 0.5}))
            pd.DataFrame({"modality": ["t1"], "distance_px": [0.5], "real": [1.0], "pool": [2.0]}).to_parquet(
                output / EDGES
            )
            pd.DataFrame(columns=["source", "patients", "draw", "vendi"]).to_parquet(output / VARIETY)
        return output


def test_what_profiles_leave_reaches_the_tables_and_the_pictures(tmp_path: Path) -> None:
    plan, store = planned(tmp_path, "").plan, cast("Store", _Profiled(tmp_path))
    profiled = {"new real", "images", "images + misfit", "mc-sg"}
    pools = pool_table(plan, store)
    assert set(pools["arm"]) == profiled
    assert set(pools["metric"]) == {"law_edge_offset_px"}
    edges = profile_curves(plan, store, EDGES)
    assert edges is not None
    assert set(edges["arm"]) == profiled
    assert edges[["fold", "seed", "pool"]].drop_duplicates().to_numpy().tolist() == [[0, 0, 2]]
    # none has a curve where too few patients are left out
    assert profile_curves(plan, store, VARIETY) is None


def test_the_order_of_treatments_is_source_look_labels() -> None:
    assert treatments_of(("look",)) == [{"kind": "fresh-real"}, {"kind": "imitate", "target": "pool"}]
    assert treatments_of(("labels", "look", "variety")) == [
        {"kind": "fresh-real", "unique": "measured"},
        {"kind": "imitate", "target": "pool"},
        {"kind": "corrupt-labels", "law": "measured"},
    ]


def test_doses_run_levels_and_ladder_at_each_and_compare_them(tmp_path: Path) -> None:
    plan = planned(tmp_path, "doses: [4, 8]")
    assert {arm.name for arm in plan.arms} == {*NAMED, *(f"{name}, 4" for name in NAMED[1:])}
    counts = {arm.name: arm.settings.synthesise.count for arm in plan.arms}
    assert (counts["mc-sg"], counts["mc-sg, 4"], counts["real"]) == (8, 4, 0)
    assert plan.sweep.analysis.contrasts == {
        "harm at 4": {"same real, 4": 1.0, "mc-sg, 4": -1.0},
        "shortfall at 4": {"new real, 4": 1.0, "mc-sg, 4": -1.0},
    }
    # the smaller pool is the head of the larger
    assert sum(trial.stage == "synthesise" for trial in plan.plan.trials.values()) == 2


def test_steps_that_are_about_one_cause_are_found(tmp_path: Path) -> None:
    section = planned(tmp_path, "doses: [8]").sweep.file.mechanism
    assert section is not None
    assert section.steps == {"look": "images", "labels": "images + misfit"}
    named = planned(tmp_path, "steps: {look: images}").sweep.file.mechanism
    assert named is not None
    assert named.steps == {"look": "images"}


ALL = "causes: [labels, look, variety]"


@pytest.mark.parametrize(
    ("section", "changes", "words"),
    [
        (f"{ALL}\n  lattice: {{labels: images}}", (), "causes makes the arms of the lattice, and lattice names them"),
        ("causes: [labels, look]", (), "a lattice has the causes labels, look, variety, each once; got labels, look"),
        (ALL, (("  ceiling: new real\n", ""),), "name their arm as mechanism.ceiling"),
        (ALL, (("images: {gan", "labels: {gan"), ("real, images,", "real, labels,")), "makes an arm called 'labels'"),
        (ALL, (("explain: mc-sg", "explain: mcsg"), ("misfit, mc-sg]", "misfit, mcsg]")), "none is called 'mcsg'"),
        ("doses: [8, 4]", (), "doses rise from 1 or more, each once; got 8, 4"),
        ("doses: [0, 4]", (), "doses rise from 1 or more"),
        ("steps: {look: new real}", (), "no step of the ladder leads to 'new real'"),
    ],
)
def test_mistakes_are_one_line_with_a_place(
    tmp_path: Path, section: str, changes: tuple[tuple[str, str], ...], words: str
) -> None:
    with pytest.raises(UserError, match=r"why.yaml:\d+: ") as caught:
        planned(tmp_path, section, *changes)
    assert words in str(caught.value)


def test_a_cell_at_another_dose_is_refused(tmp_path: Path) -> None:
    cells = ", ".join(f"{cell}: cell {cell}" for cell in CELLS)
    arms = "".join(
        f"  cell {cell}: {{treat.treatments: [{{kind: fresh-real}}], synthesise.count: 4}}\n" for cell in CELLS
    )
    with pytest.raises(UserError, match=r"'cell labels' and 'mc-sg' differ in synthesise.count or in segment"):
        planned(tmp_path, f"lattice: {{{cells}}}", ("mechanism:\n", f"{arms}mechanism:\n"))
