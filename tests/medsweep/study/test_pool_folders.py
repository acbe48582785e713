"""Arms that read pools from files: what is shared, what is refused before anything runs, and the way to the report."""

import json
import re
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from helpers import outside_pool
from helpers.commanding import Medsweep
from helpers.micro import write_micro
from medsweep.errors import UserError
from medsweep.store.store import Store
from medsweep.study import pool_folders
from medsweep.study.plan import plan_sweep
from medsweep.study.stages import Settings
from medsweep.sweep.leakage import LeakageError, require_no_leak
from medsweep.sweep.plan import Plan, PlannedTrial
from medsweep.trainers.pool import Pool

FACTORS = "factors:\n  gan.pipeline: [b-sg, mc-sg]\n  synthesise.count: [4]\n"
TRAIN = {
    0: ["phantom_0002", "phantom_0003", "phantom_0004"],
    1: ["phantom_0001", "phantom_0005", "phantom_0006"],
}


def write_pools(folder: Path, samples: int = 12, **changes: Any) -> None:
    """A pool for each of the two folds."""
    for fold, train in TRAIN.items():
        images, masks = outside_pool.pairs(samples, 16, seed=fold)
        outside_pool.write(folder / f"pool-{fold}", "npy", images, masks)
        outside_pool.describe(folder / f"pool-{fold}", train, **changes)


def write_sweep(folder: Path, levels: str = "synthesise.count: 4", *changes: tuple[str, str], **arms: str) -> Path:
    named = {"mine": f"{{synthesise.folder: 'pool-{{fold}}', {levels}}}"} | arms
    text = "factors: {}\narms:\n" + "".join(f"  {name}: {arm}\n" for name, arm in named.items())
    return write_micro(folder, (FACTORS, text), *changes)


def planned(folder: Path, *words: Any, **arms: str) -> Plan[Settings]:
    return plan_sweep(write_sweep(folder, *words, **arms), Store.create(folder / "store")).plan


def stages(plan: Plan[Settings]) -> Counter[str]:
    return Counter(trial.stage for trial in plan.trials.values())


def imports(plan: Plan[Settings]) -> list[PlannedTrial]:
    return [trial for trial in plan.trials.values() if trial.stage == "import"]


def test_doses_seeds_and_generators_that_nobody_reads_share_a_pool(tmp_path: Path) -> None:
    write_pools(tmp_path)
    more = "{synthesise.folder: 'pool-{fold}', synthesise.count: 9}"
    other = "{synthesise.folder: 'pool-{fold}', synthesise.count: 4, gan.kimg: 0.064}"
    plan = planned(tmp_path, "synthesise.count: 4", ("seeds: 1", "seeds: 2"), more=more, other=other)
    assert stages(plan) == {
        "prepare": 1, "import": 2, "embed": 4, "assess": 4, "segment": 12, "score": 12,
    }  # fmt: skip
    assert {trial.config.model_dump()["count"] for trial in imports(plan)} == {9}
    assert plan.aliases == {"other": "mine"}


def test_the_digest_follows_the_files_and_not_the_folder(tmp_path: Path) -> None:
    write_pools(tmp_path / "a")
    before = planned(tmp_path / "a")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    assert set(planned(tmp_path / "b").trials) == set(before.trials)
    masks = np.load(tmp_path / "a" / "pool-1" / "masks.npy")
    np.save(tmp_path / "a" / "pool-1" / "masks.npy", np.roll(masks, 1, axis=1))
    after = planned(tmp_path / "a")
    changed = {trial.stage for digest, trial in before.trials.items() if digest not in after.trials}
    assert changed == {"import", "assess", "segment", "score"}
    kept = {trial.digest for trial in imports(before)} & {trial.digest for trial in imports(after)}
    assert len(kept) == 1


def test_files_with_the_stamps_of_others_are_read_anew_where_that_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_pools(tmp_path)
    sweep, store = write_sweep(tmp_path), Store.create(tmp_path / "store")
    before = set(plan_sweep(sweep, store).plan.trials)
    monkeypatch.setattr(pool_folders, "_stamps", lambda paths: ())
    for record in (tmp_path / "store" / "plans").glob("pool-*.json"):
        record.write_text(json.dumps(json.loads(record.read_text()) | {"stamps": []}))
    masks = np.load(tmp_path / "pool-1" / "masks.npy")
    np.save(tmp_path / "pool-1" / "masks.npy", np.roll(masks, 1, axis=1))
    assert set(plan_sweep(sweep, store).plan.trials) == before
    assert set(plan_sweep(sweep, store, rehash=True).plan.trials) != before


def test_pictures_that_are_added_are_noticed(tmp_path: Path) -> None:
    for fold, train in TRAIN.items():
        images, masks = outside_pool.pairs(4, 16, seed=fold)
        scale = {"stored": [0, 255], "prepared": [-2, 5]}
        outside_pool.write(outside_pool.describe(tmp_path / f"pool-{fold}", train, scale=scale), "png", images, masks)
    planned(tmp_path)
    with pytest.raises(UserError, match="holds 4 samples and 5 are asked for"):
        planned(tmp_path, "synthesise.count: 5")
    for fold in TRAIN:
        outside_pool.write(tmp_path / "five", "png", *outside_pool.pairs(5, 16, seed=fold))
        for path in (tmp_path / "five").glob("*/0004*"):
            shutil.copy(path, tmp_path / f"pool-{fold}" / path.parent.name)
    assert len(imports(planned(tmp_path, "synthesise.count: 5"))) == 2


def test_treatments_and_filters_read_it_as_any_pool(tmp_path: Path) -> None:
    write_pools(tmp_path)
    folder = "synthesise.folder: 'pool-{fold}', synthesise.count: 4"
    plan = planned(
        tmp_path,
        blurred=f"{{{folder}, treat.treatments: [{{kind: blur, sigma_px: 1.0}}]}}",
        filtered=f"{{{folder}, segment.min_iou: 0.5}}",
    )
    assert stages(plan)["treat"] == 2
    assert {trial.config.model_dump()["count"] for trial in imports(plan)} == {8}
    with pytest.raises(UserError, match=r"samples of synthesise.folder have none; use gan\.pipeline: c-sg"):
        planned(tmp_path, "synthesise.count: 4, treat.treatments: [{kind: swap-bands, low: pool, high: real}]")


def test_a_generator_that_saw_others_than_the_training_patients_is_refused(tmp_path: Path) -> None:
    write_pools(tmp_path)
    outside_pool.describe(tmp_path / "pool-1", TRAIN[0][:1])
    where = r"micro\.yaml:11: arm 'mine': .*pool-1 comes from .* that learned from 1 patient\(s\) whom fold 1 tests"
    with pytest.raises(UserError, match=where):
        planned(tmp_path)
    write_pools(tmp_path)
    few = ("  resolution: 16", "  resolution: 16\n  patients: 2")
    with pytest.raises(UserError, match=r"outside the training group of fold 0.*data.patients leaves them out"):
        planned(tmp_path, "synthesise.count: 4", few)
    outside_pool.describe(tmp_path / "pool-0", "unknown")
    with pytest.raises(UserError, match=r"fitted_on is unknown, .* allow it by synthesise.unknown_patients: true"):
        planned(tmp_path)
    allowed = planned(tmp_path, "synthesise.count: 4, synthesise.unknown_patients: true")
    assert [trial.config.model_dump()["fitted_on"] for trial in imports(allowed)] == [None, tuple(TRAIN[1])]


def test_the_check_for_leaks_reads_who_was_learned_from(tmp_path: Path) -> None:
    write_pools(tmp_path)
    plan = planned(tmp_path)
    require_no_leak(plan, plan.patients)
    trial = imports(plan)[0]
    strange = trial.config.model_copy(update={"fitted_on": ("phantom_0001",)})
    plan.trials[trial.digest] = replace(trial, config=strange)  # type: ignore[index]
    with pytest.raises(LeakageError, match="learned from 'phantom_0001', who is outside its training group"):
        require_no_leak(plan, plan.patients)


def test_a_folder_that_is_not_there_is_told_with_its_place_and_exit_code(medsweep: Medsweep, tmp_path: Path) -> None:
    sweep = write_sweep(tmp_path)
    told = medsweep("plan", sweep, "--store", tmp_path / "store")
    assert told.exit_code == 2
    words = rf"medsweep: {re.escape(str(sweep))}:11: arm 'mine': there is no folder \S*pool-0; [^\n]*\n"
    assert re.fullmatch(words, told.output)
    told = medsweep(
        "plan", write_sweep(tmp_path, other="{synthesise.folder: 'pool-{sed}'}"), "--store", tmp_path / "store"
    )
    assert told.exit_code == 2
    assert "no {sed} is filled in, got 'pool-{sed}'; did you mean 'seed'?" in told.output


def test_it_runs_to_the_report_which_repeats_what_is_unknown(medsweep: Medsweep, tmp_path: Path) -> None:
    write_pools(tmp_path)
    outside_pool.describe(tmp_path / "pool-1", "unknown")
    sweep = write_sweep(tmp_path, "synthesise.count: 4, synthesise.unknown_patients: true")
    where = ("--store", tmp_path / "store", "--results", tmp_path / "results")
    ran = medsweep("run", sweep, *where, "--runner", "local")
    assert ran.exit_code == 0, ran.output
    page = (tmp_path / "results" / "report.html").read_text()
    assert "Nobody said which patients the generators behind mine learned from." in page
    assert "Synthetic pairs: from files: pool-{fold}" in page
    pools = pd.read_parquet(tmp_path / "results" / "pools.parquet")
    assert {"valid_share", "authenticity"} <= set(pools.loc[pools["arm"] == "mine", "metric"])
    made = sorted((tmp_path / "store" / "import").glob("*/output"))
    firsts = {Pool.open(folder).images[0].tobytes() for folder in made}
    assert firsts == {outside_pool.pairs(12, 16, seed=fold)[0][0].tobytes() for fold in TRAIN}
    shutil.rmtree(tmp_path / "pool-0")
    shutil.rmtree(tmp_path / "pool-1")
    (tmp_path / "results" / "analysis.json").unlink()
    told = medsweep("analyse", sweep, *where)
    assert told.exit_code == 0, told.output
    assert json.loads((tmp_path / "results" / "analysis.json").read_text())["control"] == "control"
