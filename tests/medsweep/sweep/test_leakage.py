"""The leakage check: whole sweeps pass, and each way of building a leaky chain is caught by name."""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from medsweep.data.folds import Fold, Split, split
from medsweep.data.stage_config import StageConfig
from medsweep.identity import short
from medsweep.store.store import Store
from medsweep.study.plan import plan_sweep
from medsweep.sweep.leakage import LeakageError, require_no_leak
from medsweep.sweep.plan import Builder, Plan
from medsweep.trial import Stage

PATIENTS = [f"p{number:03}" for number in range(12)]
HERE, THERE = Fold(index=0, of=3), Fold(index=1, of=3)
QUICKSTART = Path(__file__).parents[3] / "sweeps" / "quickstart.yaml"
WRITTEN = "{scheme: hold-out, folds: 1, seeds: 5, test_share: 0.77}"
"""The replicates of the quickstart."""


class Fitted(StageConfig):
    fold: Fold | None = None
    lent: Fold | None = None
    number: int = 0

    @property
    def cut(self) -> Fold | None:
        return self.fold

    @property
    def borrows(self) -> Fold | None:
        return self.lent


def _never(*_: Any) -> Iterator[Any]:
    raise RuntimeError("a plan runs nothing")


STAGES = {
    name: Stage(name=name, version=1, config=Fitted, run=_never, hours=lambda config: 1.0)
    for name in ("prepare", "gan", "synthesise", "segment", "score")
}


def chain(**folds: Fold | None) -> Plan:
    """prepare -> gan -> synthesise -> segment -> score, of the given folds, else fold 0; prepare of none."""
    builder = Builder(STAGES)
    given = {"prepare": None, "gan": HERE, "synthesise": HERE, "segment": HERE, "score": HERE} | folds
    inputs: dict[str, str] = {}
    for stage, fold in given.items():
        inputs[stage] = builder.add(stage, Fitted(fold=fold), dict(inputs))
    return Plan("made", (), (), builder.trials, {})


def only(plan: Plan, stage: str) -> str:
    return next(f"{stage} {short(digest)}" for digest, trial in plan.trials.items() if trial.stage == stage)


@pytest.mark.parametrize(
    "replicates",
    [
        WRITTEN,
        "{folds: 3, validation: 0.2}",
        "{scheme: hold-out, folds: 4, validation: 0.1}",
        "{scheme: leave-one-out}",
    ],
)
def test_the_quickstart_leaks_nothing_under_any_scheme(tmp_path: Path, replicates: str) -> None:
    text = QUICKSTART.read_text()
    assert text.count(WRITTEN) == 1
    path = tmp_path / "quickstart.yaml"
    path.write_text(text.replace(WRITTEN, replicates))
    plan = plan_sweep(path, Store(tmp_path / "store")).plan
    assert {"gan", "synthesise", "assess", "segment", "score"} <= {trial.stage for trial in plan.trials.values()}


def test_a_plan_with_a_leaky_chain_is_never_returned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from medsweep.trainers.stylegan2.family import STYLEGAN2
    from medsweep.trainers.synthesis.pipelines import PIPELINES

    def of_another_fold(settings: Any, variant: Any, fold: Fold, seed: int, resolution: int) -> Any:
        return STYLEGAN2.resolve(settings, variant, fold.model_copy(update={"index": 1}), seed, resolution)

    leaky = replace(STYLEGAN2, resolve=of_another_fold)
    for name, pipeline in PIPELINES.items():
        generators = {role: (leaky, variant) for role, (_, variant) in pipeline.generators.items()}
        monkeypatch.setitem(PIPELINES, name, replace(pipeline, generators=generators))
    with pytest.raises(LeakageError, match=r"synthesise \w+ is made from gan \w+, which is fitted on patient"):
        plan_sweep(QUICKSTART, Store(tmp_path / "store"))


def test_a_chain_of_one_fold_is_clean() -> None:
    for plan in (chain(), chain(prepare=HERE)):
        assert require_no_leak(plan, PATIENTS) is None


@pytest.mark.parametrize("stage", ["prepare", "gan", "synthesise"])
def test_an_ancestor_of_another_fold_is_named_with_the_trial_and_a_patient(stage: str) -> None:
    plan = chain(**{stage: THERE})
    with pytest.raises(LeakageError) as caught:
        require_no_leak(plan, PATIENTS)
    assert f"made from {only(plan, stage)}" in str(caught.value) or str(caught.value).startswith(only(plan, stage))
    assert any(repr(patient) in str(caught.value) for patient in PATIENTS)


def test_a_network_of_another_fold_is_never_scored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from medsweep.study import chains

    score_config = chains.ScoreConfig

    def of_another_fold(fold: Fold) -> Any:
        return score_config(fold=fold.model_copy(update={"index": 1}))

    monkeypatch.setattr(chains, "ScoreConfig", of_another_fold)
    with pytest.raises(LeakageError, match=r"score \w+ is made from (segment|gan) \w+, which is fitted on patient"):
        plan_sweep(QUICKSTART, Store(tmp_path / "store"))


def test_a_leak_through_trials_without_a_fold_is_found() -> None:
    plan = chain(gan=THERE, synthesise=None)
    with pytest.raises(LeakageError, match=f"{only(plan, 'segment')} is made from {only(plan, 'gan')}.*as test"):
        require_no_leak(plan, PATIENTS)


def test_validation_patients_count_as_held_out() -> None:
    fold = HERE.model_copy(update={"validation": 0.3})
    plan = chain(gan=HERE, synthesise=fold, segment=fold)
    watched = min(split(PATIENTS, fold).validation)
    with pytest.raises(LeakageError, match=f"'{watched}', whom the trial holds out as validation patient"):
        require_no_leak(plan, PATIENTS)


def test_what_is_fitted_on_more_than_the_small_training_set_is_found() -> None:
    small = HERE.model_copy(update={"patients": 4})
    with pytest.raises(LeakageError, match="outside the trial's training group"):
        require_no_leak(chain(gan=HERE, synthesise=small, segment=small), PATIENTS)
    require_no_leak(chain(gan=small, synthesise=HERE, segment=HERE), PATIENTS)


def borrowing(stage: str, lent: Fold) -> Plan:
    """prepare -> gan -> synthesise -> segment on 4 patients, where one stage also reads those of ``lent``."""
    builder = Builder(STAGES)
    small = HERE.model_copy(update={"patients": 4})
    inputs: dict[str, str] = {}
    for name in ("prepare", "gan", "synthesise", "segment"):
        config = Fitted(fold=small, lent=lent if name == stage else None)
        inputs[name] = builder.add(name, config, dict(inputs))
    return Plan("made", (), (), builder.trials, {})


@pytest.mark.parametrize("stage", ["prepare", "gan", "synthesise"])
def test_training_patients_left_out_may_be_borrowed_but_nobody_held_out(stage: str) -> None:
    require_no_leak(borrowing(stage, HERE), PATIENTS)
    with pytest.raises(LeakageError, match="as test patient"):
        require_no_leak(borrowing(stage, THERE), PATIENTS)


def test_what_was_borrowed_is_followed_through_trials_that_do_not_mention_it() -> None:
    plan = borrowing("prepare", HERE)
    builder = Builder(STAGES)
    builder.trials = dict(plan.trials)
    segment = next(digest for digest, trial in plan.trials.items() if trial.stage == "segment")
    small = split(PATIENTS, HERE.model_copy(update={"patients": 4})).train
    lent = min(set(split(PATIENTS, HERE).train) - set(small))
    fold = Fold(index=0, scheme="file", given_patients=Split(train=small, test=(lent,)))
    builder.add("synthesise", Fitted(fold=fold), {"pool": segment})
    with pytest.raises(LeakageError, match=f"'{lent}', whom the trial holds out as test patient"):
        require_no_leak(Plan("made", (), (), builder.trials, {}), PATIENTS)


def given_fold(index: int) -> Fold:
    return Fold(index=index, scheme="file", given_patients=split(PATIENTS, Fold(index=index % 3, of=3)))


@pytest.mark.parametrize("fold", [lambda index: Fold(index=index % 50, of=50, patients=20), given_fold])
def test_ten_thousand_trials_take_moments(fold: Callable[[int], Fold]) -> None:
    patients = PATIENTS + [f"q{number:03}" for number in range(388)]
    builder = Builder(STAGES)
    prepared = builder.add("prepare", Fitted())
    for number in range(3400):
        inputs = {"prepare": prepared}
        for stage in ("gan", "synthesise", "segment"):
            inputs[stage] = builder.add(stage, Fitted(fold=fold(number % 60), number=number), dict(inputs))
    plan = Plan("made", (), (), builder.trials, {})
    assert len(plan.trials) > 10_000
    start = time.process_time()
    require_no_leak(plan, patients)
    assert time.process_time() - start < 20, "usually 0.5 s; what is quadratic takes minutes"
