"""Early stopping: who is stopped at a rung, what the files remember, and who is never touched."""

from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from helpers import toy
from helpers.buckets import new_bucket
from medsweep.data.folds import Fold
from medsweep.errors import UserError
from medsweep.search.stopping import Stopping, bracket, is_stopped, kinds_of, rung, stopping_of
from medsweep.store.opening import store_at
from medsweep.store.store import Store
from medsweep.sweep.arms import Arm, Replicate
from medsweep.sweep.plan import Plan, build
from medsweep.sweep.space import StoppingRule
from medsweep.trial import Progress, PrunedError, StageEndedError

ASHA = StoppingRule(rule="asha", metric="loss", goal="minimise", first_step_share=0.1, reduction=3)
MEDIAN = StoppingRule(rule="median", metric="dice", goal="maximise", first_step_share=0.25)


def at(step: int, **metrics: float) -> Progress:
    return Progress(step=step, total=100, metrics=metrics)


def stopping(folder: Path, rule: StoppingRule) -> Callable[..., None]:
    """``Stopping.check`` in a store."""
    return partial(Stopping("toy", {"grow": rule}).check, Store(folder))


def test_rungs_of_asha_are_a_ratio_apart_and_those_of_the_median_even() -> None:
    shares = (0.05, 0.1, 0.29, 0.3, 0.89, 0.9)
    assert [rung(ASHA, share) for share in shares] == [None, 0, 0, 1, 1, 2]
    assert [rung(MEDIAN, share) for share in (0.2, 0.25, 0.5, 0.74, 0.75)] == [None, 0, 1, 1, 2]


def test_asha_keeps_the_best_third() -> None:
    assert not is_stopped(ASHA, 9.0, [1.0]), "fewer than three stop nobody"
    assert is_stopped(ASHA, 2.0, [1.0, 3.0])
    assert not is_stopped(ASHA, 1.0, [2.0, 3.0])
    assert not is_stopped(ASHA, 2.0, [1.0, 3, 4, 5, 6])
    assert is_stopped(ASHA, 3.0, [1.0, 2, 4, 5, 6])


def test_hyperband_deals_trials_to_brackets_that_begin_later_and_cost_alike(tmp_path: Path) -> None:
    rule = ASHA.model_copy(update={"rule": "hyperband"})
    digests = [f"{number:064x}" for number in range(4000)]
    counts = Counter(bracket(rule, digest)[0] for digest in digests)
    # First rungs at 0.1, 0.3 and 0.9 with 3, 2 and 1 rungs: as 1/0.3, 1/0.6 and 1/0.9.
    shares = [1 / 0.3, 1 / 0.6, 1 / 0.9]
    for number, share in enumerate(shares):
        assert counts[number] / len(digests) == pytest.approx(share / sum(shares), abs=0.03)
    hyperband = stopping(tmp_path, rule)
    early, late = (next(d for d in digests if bracket(rule, d)[0] == number) for number in (0, 2))
    for digest in (early, late):
        hyperband("grow", digest, "fold-0", at(30, loss=1.0))
    assert [path.parent.relative_to(tmp_path) for path in tmp_path.rglob(f"*{early}")] == [
        Path("rungs/toy/grow/fold-0/bracket-0/1")
    ]
    assert not list(tmp_path.rglob(f"*{late}")), "not looked at before nine tenths"
    others = [digest for digest in digests if bracket(rule, digest)[0] == 0 and digest != early][:2]
    hyperband("grow", others[0], "fold-0", at(30, loss=2.0))
    with pytest.raises(PrunedError, match="by hyperband"):
        hyperband("grow", others[1], "fold-0", at(30, loss=3.0))


def test_the_median_stops_what_is_worse_than_most_of_the_others() -> None:
    assert not is_stopped(MEDIAN, 9.0, [1.0, 2.0])
    assert is_stopped(MEDIAN, 2.5, [1.0, 2.0, 3.0])
    assert not is_stopped(MEDIAN, 2.0, [1.0, 2.0, 3.0])


def test_a_trial_is_stopped_at_a_rung_by_those_that_came_before(tmp_path: Path) -> None:
    rule = stopping(tmp_path, ASHA)
    for trial, loss in (("a", 1.0), ("b", 2.0)):
        rule("grow", trial, "fold-0", at(10, loss=loss))
    rule("grow", "c", "fold-0", at(9, loss=9.0))
    with pytest.raises(PrunedError, match=r"step 10 of 100 by asha: loss 3 .* 2 other") as stopped:
        rule("grow", "c", "fold-0", at(10, loss=3.0))
    assert isinstance(stopped.value, StageEndedError)
    assert stopped.value.outcome == "pruned"
    rule("grow", "d", "fold-0", at(10, loss=0.5))
    with pytest.raises(PrunedError):
        rule("grow", "e", "fold-0", at(10, loss=float("nan")))
    # Judged once per rung: later reports of the same rung change nothing.
    rule("grow", "a", "fold-0", at(20, loss=99.0))
    assert sorted(path.name for path in (tmp_path / "rungs" / "toy" / "grow" / "fold-0" / "0").iterdir()) == list(
        "abcde"
    )


def test_machines_that_share_a_bucket_alone_stop_each_others_trials(
    s3: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, check = new_bucket(), Stopping("toy", {"grow": ASHA}).check
    for trial, loss in (("a", 1.0), ("b", 2.0)):
        monkeypatch.setenv("MEDSWEEP_WORK", str(tmp_path / trial))
        check(store_at(url), "grow", trial, "fold-0", at(10, loss=loss))
    monkeypatch.setenv("MEDSWEEP_WORK", str(tmp_path / "c"))
    with pytest.raises(PrunedError, match="loss 3 against 2 other"):
        check(store_at(url), "grow", "c", "fold-0", at(10, loss=3.0))
    monkeypatch.setenv("MEDSWEEP_WORK", str(tmp_path / "elsewhere"))
    check(store_at(url), "grow", "a", "fold-0", at(20, loss=99.0))  # judged at this rung before, on another machine
    assert '"loss": 1.0' in (store_at(url).fresh(store_at(url).root / "rungs/toy/grow/fold-0/0/a").read_text())


def test_a_resumed_trial_overwrites_its_own_value(tmp_path: Path) -> None:
    rule = stopping(tmp_path, MEDIAN)
    for trial, dice in (("a", 0.5), ("b", 0.6), ("c", 0.7)):
        rule("grow", trial, "fold-0", at(25, dice=dice))
    with pytest.raises(PrunedError):
        rule("grow", "d", "fold-0", at(25, dice=0.55))
    with pytest.raises(PrunedError):
        rule("grow", "d", "fold-0", at(25, dice=0.56))
    rule("grow", "d", "fold-0", at(25, dice=0.9))
    assert '"loss": -0.9' in (tmp_path / "rungs" / "toy" / "grow" / "fold-0" / "0" / "d").read_text()


@pytest.mark.parametrize("content", [b"", b"[]", b'{"step": 10}', b"\xff"])
def test_a_value_that_a_power_cut_tore_says_nothing(tmp_path: Path, content: bytes) -> None:
    rule = stopping(tmp_path, ASHA)
    rule("grow", "a", "fold-0", at(10, loss=float("inf")))
    for torn in "bc":
        (tmp_path / "rungs/toy/grow/fold-0/0" / torn).write_bytes(content)
    rule("grow", "b", "fold-0", at(10, loss=3.0))
    rule("grow", "d", "fold-0", at(10, loss=1.0))
    with pytest.raises(PrunedError, match="against 3 other"):
        rule("grow", "e", "fold-0", at(10, loss=2.0))


def test_only_trials_of_one_kind_meet(tmp_path: Path) -> None:
    rule = stopping(tmp_path, ASHA)
    for trial, kind, loss in (("a", "fold-0", 1.0), ("b", "fold-0", 2.0), ("c", "fold-1", 3.0), ("none", "", 9.0)):
        rule("grow", trial, kind, at(10, loss=loss))
    rule("measure", "a", "fold-0", at(10, loss=9.0))
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == ["a", "b", "c"]


def test_a_metric_that_is_never_reported_is_named(tmp_path: Path) -> None:
    rule = stopping(tmp_path, ASHA)
    rule("grow", "a", "fold-0", at(50, los=1.0))
    with pytest.raises(UserError, match=r"'loss', which the stage never reported; did you mean 'los'\?"):
        rule("grow", "a", "fold-0", at(100, los=1.0))
    rule("grow", "b", "fold-0", at(10, loss=1.0))
    rule("grow", "b", "fold-0", at(100))


def test_only_what_serves_suggestions_alone_may_be_stopped() -> None:
    plan = _plan({"control": 1.0, "named": 2.0, "search-000": 2.0, "search-001": 3.0, "search-002": 3.0})
    rules = {"grow": ASHA, "measure": ASHA}
    leaf = plan.leaves["search-001", plan.replicates[0]]
    grown = next(d for d in plan.ancestry(leaf) if plan.trials[d].stage == "grow")
    assert kinds_of(plan, rules) == dict.fromkeys((leaf, grown), "fold-0-seed-0")
    assert stopping_of("toy", {}) is None
    assert stopping_of("toy", rules) == Stopping("toy", rules)


def _plan(rates: dict[str, float]) -> Plan:
    arms = []
    for name, rate in rates.items():
        grow = toy.GrowSection(rate=rate)
        settings = toy.Settings(grow=grow, measure=toy.MeasureSection(count=2))
        arms.append(Arm(name, {}, settings, is_control=name == "control"))
    where = (Replicate(Fold(index=0, of=2), 0),)
    return build("toy", arms=arms, replicates=where, stages=toy.STAGES, expand=toy.expand_with(2))
