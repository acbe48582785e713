"""Misfits, slopes and contrasts of accumulation: what is planted comes out, and is told in its sentence."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.simulated_samples import SECTION, simulate_samples
from medsweep.accumulation import Accumulation
from medsweep.analysis.records import ArmInfo
from medsweep.analysis.study.analyse import analyse
from medsweep.analysis.study.dead import DeadArm
from medsweep.analysis.study.mechanisms.accumulation import questions
from medsweep.analysis.study.mechanisms.accumulation_verdict import Doubt, Sentence
from medsweep.analysis.study.mechanisms.accumulation_wording import sentences
from medsweep.analysis.study.mechanisms.misfit import NO_SAMPLES, misfits_of, slopes_of
from medsweep.analysis.study.mechanisms.why import WhyAsked
from medsweep.analysis.table.reduction import AnalysisRules
from medsweep.analysis.table.user_table import NO_POOLS

NAMES = ["real", "new real", "same real", "warped", "known", "new", "mc-sg", *SECTION.perturbed]


def value(weights, means):
    return sum(weight * means[arm] for arm, weight in weights.items())


@given(st.lists(st.floats(0, 1), min_size=len(NAMES), max_size=len(NAMES)))
def test_the_parts_add_up_and_the_interaction_is_what_both_cost_beyond_their_sum(values):
    means = dict(zip(NAMES, values, strict=True))
    asked = questions(SECTION)
    cost = {arm: means["new real"] - means[arm] for arm in NAMES}
    parts = {name: value(weights, means) for name, weights in asked["parts"].items()}
    assert parts["image part"] + parts["mask part"] == pytest.approx(cost["mc-sg"], abs=1e-12)
    assert parts["interaction"] == pytest.approx(cost["mc-sg"] - cost["new"] - cost["warped"], abs=1e-12)
    steps = [value(weights, means) for name, weights in asked["chain"].items() if name != "shortfall"]
    assert sum(steps) == pytest.approx(cost["mc-sg"], abs=1e-12)
    memorised = value(asked["memorised"]["memorised masks"], means)
    assert memorised == pytest.approx(
        (means["known"] - means["new"]) - (means["same real"] - means["new real"]), abs=1e-12
    )


def test_costs_are_positive_for_distances_too():
    means = dict.fromkeys(NAMES, 2.0) | {"mc-sg": 3.5}
    assert value(questions(SECTION, higher_is_better=False)["parts"]["interaction"], means) == pytest.approx(1.5)


def test_only_the_chain_is_asked_without_the_other_cells():
    section = Accumulation(new_masks="new", generated_masks="mc-sg")
    assert questions(section) == {
        "chain": {"new to mc-sg": {"new": 1.0, "mc-sg": -1.0}}, "parts": {}, "memorised": {},
    }  # fmt: skip


def test_a_planted_misfit_is_found_beside_unseen_reals():
    found = misfits_of(simulate_samples(always=1.0), SECTION, 0.95)
    assert found.new.low < 1.0 < found.new.high
    assert found.new.low > 0.6
    assert found.step.low < 0 < found.step.high
    by_name = {one.name: one for one in found.sources}
    assert by_name["real, unseen"].excess is None
    assert by_name["C-SG, new masks"].n == 750
    assert by_name["C-SG, M-SG masks"].means["nearest_px"] == pytest.approx(3, abs=0.1)


def test_an_interval_is_the_wider_of_samples_and_runs():
    samples = simulate_samples(runs=3)
    spread = samples.assign(hd95_px=samples["hd95_px"] + (samples["arm"] != "") * samples["fold"])
    narrow, wide = (misfits_of(table, SECTION, 0.95).new for table in (samples, spread))
    assert wide.value - narrow.value == pytest.approx(1.0)
    # three runs of 0, 1 and 2 px more have a t interval of +- 2.48 px
    assert wide.high - wide.low == pytest.approx(2 * 2.48, abs=0.3)
    # half of 12 patients have 3 px more in every run, so that runs do not differ and patients do
    odd = samples["patient"].isin([f"p{i}" for i in range(6)])
    unlike = misfits_of(samples.assign(hd95_px=samples["hd95_px"] + 3 * odd), SECTION, 0.95).new
    assert unlike.value == pytest.approx(narrow.value - 1.5)
    assert unlike.high - unlike.low == pytest.approx(2 * 1.96 * 1.5 / np.sqrt(13), abs=0.25)


def test_what_a_judge_sees_worse_in_real_images_too_is_no_accumulation():
    judges = ("left-out", "control")
    seen, planted = (simulate_samples(judges=judges, blind=0.6, artefact=px) for px in (0.0, 0.8))
    found = misfits_of(seen, SECTION, 0.95)
    assert found.odd.low < 0.6 < found.odd.high
    assert found.step.low < 0 < found.step.high
    raw = misfits_of(seen[~seen["arm"].isin(["warped", "new real"])], SECTION, 0.95)
    assert raw.odd is None
    assert raw.step.low > 0.4
    assert misfits_of(planted, SECTION, 0.95).step.value == pytest.approx(0.8, abs=0.1)


def test_missed_samples_are_a_rate_and_have_no_distance():
    samples = simulate_samples()
    gone = (samples["arm"] == "new") & (samples.index % 2 == 0)
    samples.loc[gone, ["hd95_px", "assd_px", "bias_px"]] = np.nan
    samples.loc[gone, ["dice", "missed"]] = 0.0, 1.0
    one = next(one for one in misfits_of(samples, SECTION, 0.95).sources if one.arm == "new")
    assert one.means["missed"] == pytest.approx(0.5, abs=0.01)
    assert one.means["dice"] == pytest.approx(0.45, abs=0.01)
    assert one.excess.value == pytest.approx(0, abs=0.15)


@pytest.mark.parametrize("arm", ["new", "mc-sg"])
def test_a_judge_that_does_not_find_the_masks_tells_nothing_of_misfit(arm):
    samples = simulate_samples(per_px=0.5)
    gone = (samples["arm"] == arm) & (samples.index % 4 == 0)
    samples.loc[gone, ["hd95_px", "assd_px", "bias_px"]] = np.nan
    samples.loc[gone, ["dice", "missed"]] = 0.0, 1.0
    found, text, _ = study(HARM, samples)
    assert found.misfits.missed == pytest.approx(0.25, abs=0.01)
    assert found.verdict.cannot_tell == (Doubt.BLIND,)
    assert "the judge finds nothing of many masks, over 10% more than in unseen real slices" in text


def test_the_slope_is_what_was_planted_and_artefacts_of_generated_masks_are_apart():
    found = slopes_of(simulate_samples(per_px=0.5, artefact=0.4), SECTION, "left-out", 0.95)
    assert found.beta.low < 0.5 < found.beta.high
    assert found.dose.value == pytest.approx(0.5, abs=0.05)
    assert found.beyond.low < 0.4 < found.beyond.high
    assert found.beyond.low > 0.2
    assert (found.clusters, found.beta.df) == (5, 4)
    assert slopes_of(simulate_samples(runs=1), SECTION, "left-out", 0.95) is None


def test_errors_of_slopes_grow_with_what_runs_share():
    samples = simulate_samples(per_px=0.5)
    columns = ["class_1/hd95_px", "class_2/hd95_px"]
    shaken = samples.copy()
    for column in columns:
        shaken[column] += (samples["fold"] - 2) * samples["nearest_px"] * 0.2
    calm, wild = (slopes_of(table, SECTION, "left-out", 0.95).beta for table in (samples, shaken))
    assert wild.se > 4 * calm.se
    assert wild.value == pytest.approx(calm.value, abs=0.02)


def table(costs, *, seeds=5, patients=24, names=NAMES):
    rng = np.random.default_rng(4)
    level, rows = rng.normal(0.8, 0.05, patients), []
    for arm in names:
        own = rng.normal(0, 0.003, patients)
        for run in range(seeds):
            values = level - costs.get(arm, 0.0) + own + rng.normal(0, 0.002) + rng.normal(0, 0.004, patients)
            rows += [("d", arm, 0, run, f"p{i:02d}", "all", "dice", one, "ok") for i, one in enumerate(values)]
    columns = ["dataset", "arm", "fold", "seed", "patient", "class", "metric", "value", "status"]
    return pd.DataFrame(rows, columns=columns)


def study(costs, samples, *, names=NAMES, dead=(), **settings):
    infos = [ArmInfo(name, {}, control=name == "real") for name in NAMES]
    found = analyse(
        table(costs, names=names, **settings),
        NO_POOLS,
        AnalysisRules(margin=0.01),
        arms=infos,
        dead=dead,
        why=WhyAsked(accumulation=SECTION, samples=samples),
    )
    return found.accumulation, " ".join(sentences(found.accumulation, found.primary.metric)), found


HARM = {"new": 0.02, "known": 0.02, "mc-sg": 0.02}


@pytest.mark.parametrize(
    ("planted", "costs", "outcome", "words"),
    [
        ({}, {}, Sentence.OBEYS, "C-SG obeys its masks and M-SG adds no misfit. Nothing accumulates."),
        ({"always": 1.0}, HARM, Sentence.ADDS, "Errors add, and none accumulates. Mend C-SG."),
        ({"per_px": 0.5}, {}, Sentence.ACCUMULATES, "It does not reach the U-Net (interaction"),
        ({"per_px": 0.5}, {**HARM, "mc-sg": 0.08}, Sentence.HINDERS, "hinders the U-Net: by 0.0"),
        ({"per_px": -0.3}, {}, Sentence.EASIER, "easier to paint than real ones"),
    ],
)
def test_each_planted_truth_has_its_sentence(planted, costs, outcome, words):
    found, text, _ = study(costs, simulate_samples(**planted))
    assert found.verdict.outcome is outcome
    assert words in text
    assert found.verdict.cannot_tell == ()
    assert found.slopes.dose.value == pytest.approx(planted.get("per_px", 0.0), abs=0.15)


def test_two_judges_that_disagree_leave_it_open():
    agreed = simulate_samples(always=1.0, judges=("left-out", "control"))
    apart = simulate_samples(always=1.0, judges=("left-out", "control"), shift=2.0)
    found, _, _ = study(HARM, agreed)
    assert found.verdict.outcome is Sentence.ADDS
    assert {one.judge for one in found.misfits.sources} == {"left-out", "control"}
    assert found.misfits.judge == "left-out"
    found, text, _ = study(HARM, apart)
    assert found.verdict.cannot_tell == (Doubt.JUDGE,)
    assert "Cannot tell: depends on the judge" in text


def test_a_step_says_whether_it_is_freed_of_what_real_images_have_too():
    judged = simulate_samples(judges=("left-out", "control"), blind=0.6)
    assert "more than these, once freed of the +0." in study({}, judged)[1]
    bare = judged[~judged["arm"].isin(["warped", "new real"])]
    assert "more than these, with what a judge sees worse wherever a mask is odd still in it" in study({}, bare)[1]
    # nothing is freed of anything where generated masks were not judged
    text = study({}, judged[judged["arm"] != "mc-sg"])[1]
    assert "more HD95 from their masks (judge: left-out)" in text
    assert "freed" not in text


def test_one_run_has_numbers_and_no_sentence():
    found, text, _ = study(HARM, simulate_samples(always=1.0, runs=1), seeds=1)
    assert found.verdict.cannot_tell == (Doubt.ONE_RUN,)
    assert found.misfits.new.value == pytest.approx(1.0, abs=0.2)
    assert "Cannot tell: one run" in text


def test_without_assessments_costs_are_told_and_no_misfit():
    found, text, _ = study({}, NO_SAMPLES)
    assert found.misfits is None
    assert found.verdict.cannot_tell == (Doubt.NO_NEW_MASKS, Doubt.NO_STEP)
    assert len(found.tests["parts"]) == 3
    assert "misfit on new masks not measured" in text


def test_a_dead_arm_takes_its_contrasts_and_leaves_the_rest():
    names = [name for name in NAMES if name != "warped"]
    found, _, _ = study({}, simulate_samples(), names=names, dead=[DeadArm("warped", "pool-dry")])
    assert found.tests["parts"] == ()
    assert found.lost == ("image part", "mask part", "interaction")
    assert found.verdict.outcome is Sentence.OBEYS
    assert found.verdict.cannot_tell == (Doubt.NO_WARPED,)


def test_the_record_is_json():
    found = study(HARM, simulate_samples(always=1.0))[2]
    assert '"outcome": "adds"' in found.to_json()
