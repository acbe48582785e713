"""The whole analysis: right verdicts on a known truth, and small or broken sweeps that still get an answer."""

import json
import math

import pandas as pd
import pytest

from helpers.simulated_results import CONTROL, NO_POOLS, arm, eight_arms, simulate, simulate_pools
from medsweep.analysis.stats.equivalence import Verdict
from medsweep.analysis.stats.omnibus import NoOmnibus
from medsweep.analysis.study.analyse import analyse
from medsweep.analysis.study.wording import headline
from medsweep.analysis.table.reduction import AnalysisRules
from medsweep.errors import UserError
from medsweep.metrics import SCORES

ARMS = [arm(CONTROL, 0), arm("better", 8), arm("worse", 16), arm("same", 32)]
TRUTH = {"better": 0.04, "worse": -0.05}
CASES = [{}, {"folds": 5, "patients": 40}, {"seeds": 1}]


def run(arms=ARMS, shifts=TRUTH, pools=NO_POOLS, plan=None, n_real=None, **settings):
    defaults = {"patients": 24, "seeds": 5, "run_sd": 0.001}
    table = simulate(arms, shifts, **{**defaults, **settings})
    return analyse(table, pools, plan or AnalysisRules(), arms=arms, n_real=n_real)


@pytest.mark.parametrize("settings", CASES)
def test_verdicts_find_the_truth(settings):
    found = {answer.arm: answer.verdict for answer in run(**settings).answers}
    assert found == {"better": Verdict.SUPERIOR, "worse": Verdict.INFERIOR, "same": Verdict.EQUIVALENT}


def test_noise_alone_is_inconclusive_and_never_no_effect():
    found = run(shifts={}, residual_sd=0.1, patients=8)
    for answer in found.answers:
        assert answer.verdict == Verdict.INCONCLUSIVE
        assert "no effect" not in answer.sentence
        assert "8 patients and 5 runs" in answer.sentence
        assert "95% simultaneous CI" in answer.sentence


def test_the_scope_says_for_what_the_verdicts_hold():
    assert "hold for these trained networks" in run(seeds=1).scope
    assert "5 seeds or more are better" in run(seeds=2).scope
    assert run(seeds=5).scope == "Verdicts hold for the method, over one held-out set and 5 seeds per arm."
    assert run(folds=5, patients=40, seeds=1).scope.startswith("Verdicts hold for the method: 5 folds of 1 seed")


def test_retraining_noise_makes_a_difference_of_networks_inconclusive():
    found = run(shifts={"worse": -0.01}, run_sd=0.012, seeds=3, residual_sd=0.004, seed=4)
    answer = next(answer for answer in found.answers if answer.arm == "worse")
    assert answer.wilcoxon.p_holm < 0.05
    assert answer.verdict == Verdict.INCONCLUSIVE
    assert answer.estimate.low < 0 < answer.estimate.high
    assert "24 patients and 3 runs" in answer.sentence


def test_one_network_per_arm_names_no_winner():
    found = run(seeds=1)
    assert all("for these trained networks." in answer.lead for answer in found.answers)
    assert found.headline.startswith("One network per arm cannot judge a method. Of 3 arms as trained here")
    assert "better" not in found.headline
    for settings in ({"seeds": 5}, {"folds": 5, "patients": 40, "seeds": 1}):
        sweep = run(**settings)
        assert "cannot judge" not in sweep.headline
        assert not any(answer.conditional for answer in sweep.answers)


def test_two_networks_of_few_arms_name_no_winner():
    found = run(arms=ARMS[:3], seeds=2)
    assert all("for these trained networks." in answer.lead for answer in found.answers)
    assert found.headline.startswith("Two networks for each of so few arms cannot judge a method. Of 2 arms as trained")
    assert "superior" in found.headline
    assert "better" not in found.headline
    assert "two per arm" in found.scope
    assert not any("degree of freedom" in limit for limit in found.limits)
    several = run(seeds=2)
    assert not any(answer.conditional for answer in several.answers)
    assert any("degree of freedom" in limit for limit in several.limits)


@pytest.mark.parametrize(
    ("verdicts", "sentence"),
    [
        (["superior"], "a against c: superior on Dice (n = 9)."),
        (
            ["equivalent", "inferior", "inferior"],
            "No arm is shown to be better than c on Dice (n = 9): of 3 arms, 2 are inferior (b; d), 1 is equivalent "
            "(a).",
        ),
        (
            ["superior", "inconclusive", "inconclusive", "inconclusive", "inconclusive"],
            "1 of 5 arms is superior to c on Dice (n = 9): a. Of the others, 4 are inconclusive.",
        ),
        (["superior"] * 4, "4 of 4 arms are superior to c on Dice (n = 9)."),
    ],
)
def test_the_headline_counts_and_names(verdicts, sentence):
    pairs = list(zip("abdef", map(Verdict, verdicts), strict=False))
    assert headline(pairs, "c", SCORES["dice"], 9, conditional="") == sentence


def test_lower_is_better_for_distances():
    found = run(plan=AnalysisRules(primary="hd95_mm", margin=0.5))
    verdicts = {answer.arm: answer.verdict for answer in found.answers}
    assert verdicts == {"better": Verdict.SUPERIOR, "worse": Verdict.INFERIOR, "same": Verdict.EQUIVALENT}
    assert found.answers[0].effect.mean.value < 0
    assert [study.metric.name for study in found.secondary] == ["dice"]


def test_two_arms_one_seed_few_patients():
    found = run(arms=ARMS[:2], patients=3, seeds=1)
    assert isinstance(found.primary.omnibus, NoOmnibus)
    assert found.primary.nemenyi is None
    assert found.answers[0].conditional


def test_one_patient_gets_a_description_and_no_claim():
    found = run(patients=1, seeds=2)
    assert {answer.verdict for answer in found.answers} == {Verdict.INCONCLUSIVE}
    assert "Fewer than two patients" in found.answers[0].sentence
    json.loads(found.to_json())


def test_an_arm_that_always_diverged_is_reported():
    table = simulate(ARMS, TRUTH, patients=24, seeds=5)
    broken = table["arm"] == "same"
    table = table.assign(status=table["status"].mask(broken, "diverged"), value=table["value"].mask(broken))
    found = analyse(table, NO_POOLS, AnalysisRules(), arms=ARMS)
    answer = found.answers[2]
    assert answer.verdict == Verdict.INFERIOR
    assert found.primary.descriptions[3].diverged == 5
    assert any("same: training diverged in 5 of 5 runs" in sentence for sentence in found.limits)
    distance = found.secondary[0]
    assert distance.effects[2].n_finite == 0
    assert math.isnan(distance.effects[2].mean.value)
    json.loads(found.to_json())


def test_one_missed_patient_voids_equivalence_of_a_distance():
    table = simulate(ARMS, {}, patients=24, seeds=2, run_sd=0.0, residual_sd=0.001)
    miss = (table["arm"] == "same") & (table["patient"] == "case-002") & (table["metric"] == "hd95_mm")
    table = table.assign(status=table["status"].mask(miss, "missed"), value=table["value"].mask(miss, math.inf))
    found = analyse(table, NO_POOLS, AnalysisRules(primary="hd95_mm", margin=1.0), arms=ARMS)
    verdicts = {answer.arm: answer.verdict for answer in found.answers}
    assert verdicts["better"] == Verdict.EQUIVALENT
    assert verdicts["same"] == Verdict.INCONCLUSIVE
    assert "no farther than 10 mm from the control's" in found.answers[2].sentence
    assert any("count each score at most 10 mm from" in sentence for sentence in found.limits)


def test_row_order_and_repetition_change_no_byte():
    table = simulate(ARMS, TRUTH, patients=8, seeds=3, classes=("1", "2", "3"))
    first = analyse(table, NO_POOLS, AnalysisRules(), arms=ARMS).to_json()
    assert analyse(table.sample(frac=1, random_state=0), NO_POOLS, AnalysisRules(), arms=ARMS).to_json() == first


def test_relabelling_arms_permutes_the_results():
    table = simulate(ARMS, TRUTH, patients=8, seeds=2)
    swapped = table.assign(arm=table["arm"].replace({"better": "worse", "worse": "better"}))
    one = {a.arm: a for a in analyse(table, NO_POOLS, AnalysisRules(), arms=ARMS).answers}
    other = {a.arm: a for a in analyse(swapped, NO_POOLS, AnalysisRules(), arms=ARMS).answers}
    for name, new in (("better", "worse"), ("worse", "better"), ("same", "same")):
        assert one[name].effect.mean == other[new].effect.mean
        assert one[name].effect.bca == other[new].effect.bca
        assert one[name].wilcoxon.p_holm == other[new].wilcoxon.p_holm


def test_a_constant_per_patient_changes_no_difference():
    table = simulate(ARMS, TRUTH, patients=8, seeds=2)
    shift = table["patient"].str[-1].astype(int) * 0.01 * (table["metric"] == "dice")
    one = analyse(table, NO_POOLS, AnalysisRules(), arms=ARMS)
    other = analyse(table.assign(value=table["value"] + shift), NO_POOLS, AnalysisRules(), arms=ARMS)
    assert other.primary.omnibus.p == pytest.approx(one.primary.omnibus.p)
    for a, b in zip(one.answers, other.answers, strict=True):
        assert b.wilcoxon.p == pytest.approx(a.wilcoxon.p)
        assert b.effect.mean.value == pytest.approx(a.effect.mean.value)


def test_pools_are_counted_once_and_one_generator_is_a_limit():
    arms = eight_arms()
    pools = simulate_pools(arms)
    found = run(arms=arms, shifts={}, pools=pools, seeds=2, patients=8, n_real=16)
    assert not any("generator" in sentence for sentence in found.limits)
    one = next(p for p in found.pools if p.arm == "b-sg, 8 patients" and p.metric == "frechet")
    mine = pools[(pools["arm"] == one.arm) & (pools["metric"] == "frechet")]
    assert (one.n, one.mean) == (2, pytest.approx(mine["value"].mean()))
    shared = pools.assign(digest=pools["digest"].str[:-2])
    found = run(arms=arms, shifts={}, pools=shared, seeds=2, patients=8)
    assert any("one generator per fold" in sentence for sentence in found.limits)
    assert found.headline.startswith("One generator per arm cannot judge a method.")
    in_folds = run(arms=arms, shifts={}, pools=shared, seeds=2, patients=8, folds=2)
    assert "cannot judge" not in in_folds.headline
    assert {p.n for p in found.pools} == {1}


def test_metrics_without_a_record_are_named_among_the_limits():
    arms = eight_arms()
    pools = simulate_pools(arms)
    gloss = pools[pools["metric"] == "frechet"].assign(metric="gloss")
    found = run(arms=arms, shifts={}, pools=pd.concat([pools, gloss]), seeds=2, patients=8)
    assert "Measures of pools of which nothing says which way is better: gloss." in found.limits
    assert {p.metric for p in found.pools} >= {"gloss", "frechet"}
    table = simulate(arms, {}, patients=8)
    sharp = table[table["metric"] == "dice"].assign(metric="sharpness")
    found = analyse(pd.concat([table, sharp]), NO_POOLS, AnalysisRules(), arms=arms)
    assert "Not compared, since nothing says which way is better: sharpness." in found.limits
    assert [study.metric.name for study in found.secondary] == ["hd95_mm"]


def test_a_pool_without_a_mask_like_a_real_one_is_a_limit():
    arms = eight_arms()
    rows = [(one.name, 0, seed, one.levels["gan.pipeline"] + str(seed)) for one in arms[1:] for seed in range(2)]
    shares = pd.DataFrame(rows, columns=["arm", "fold", "seed", "digest"]).assign(metric="valid_share", value=0.6)
    pools = pd.concat([simulate_pools(arms), shares], ignore_index=True)
    fine = run(arms=arms, shifts={}, pools=pools, seeds=2, patients=8, n_real=16)
    assert not any("look like real ones" in sentence for sentence in fine.limits)
    failed = (pools["metric"] == "valid_share") & (pools["digest"] == "mc-sg1")
    blank = run(arms=arms, shifts={}, pools=pools.assign(value=pools["value"].mask(failed, 0.004)), seeds=2, patients=8)
    (told,) = [sentence for sentence in blank.limits if "look like real ones" in sentence]
    assert "fewer than 1% of the generated masks look like real ones: mc-sg, 8 patients (1 of 2 pools), mc-sg" in told
    assert "b-sg" not in told


def test_complete_cases_say_what_they_left_out():
    table = simulate(ARMS, TRUTH, patients=10, seeds=2)
    hole = (table["arm"] == "same") & (table["patient"] == "case-003")
    table = table.assign(status=table["status"].mask(hole, "absent"), value=table["value"].mask(hole))
    with pytest.raises(UserError, match="missing: complete-cases"):
        analyse(table, NO_POOLS, AnalysisRules(), arms=ARMS)
    found = analyse(table, NO_POOLS, AnalysisRules(missing="complete-cases"), arms=ARMS)
    assert found.primary.n == 9
    assert "Left out for all arms: 1 patient (a score is missing in some arm)." in found.limits
    absent = next(cause for cause in found.causes if cause.status == "absent")
    assert (absent.scores, absent.runs, absent.patients) == (4, 2, 1)
    assert "left out for all arms" in absent.rule


def test_post_hoc_tests_come_on_request_only():
    assert run(patients=8).sensitivity.on_request == ()
    asked = run(patients=8, plan=AnalysisRules(post_hoc=("conover", "shaffer"))).sensitivity.on_request
    assert [one.method for one in asked] == ["conover", "shaffer"]


def test_every_arm_has_its_trials():
    found = run(patients=4, seeds=2)
    assert [(one.arm, one.fold, one.seed, one.outcome) for one in found.trials][:3] == [
        (CONTROL, 0, 0, "complete"),
        (CONTROL, 0, 1, "complete"),
        ("better", 0, 0, "complete"),
    ]
    assert found.trials[0].digest == f"{CONTROL}/0/0"


@pytest.mark.parametrize(
    ("arms", "message"),
    [
        (ARMS[1:], "exactly one arm is the control, got 0"),
        ([ARMS[0], ARMS[0]], "two arms share a name: 'real only'"),
        (ARMS[:1], "nothing to compare"),
    ],
)
def test_designs_without_a_question_are_refused(arms, message):
    with pytest.raises(UserError, match=message):
        analyse(simulate(ARMS, {}, patients=3), NO_POOLS, AnalysisRules(), arms=arms)


def test_json_holds_every_part_without_bare_nan():
    found = json.loads(run(arms=eight_arms(), shifts={}, seeds=1, patients=6).to_json())
    assert {
        "answers",
        "primary",
        "secondary",
        "dose",
        "runs",
        "components",
        "ranking",
        "limits",
        "trials",
        "causes",
    } <= set(found)
    assert all("p_adjusted" in answer["test"]["whole"] for answer in found["answers"])
    assert found["components"][0]["run"] is None
    assert isinstance(pd.DataFrame(found["runs"])["value"].sum(), float)
