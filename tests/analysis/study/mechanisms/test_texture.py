"""The decision on texture: each verdict from made-up records, what it never says, and whole studies from scores."""

import dataclasses
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.lattice import score_table
from medsweep.analysis.records import ArmInfo, Estimate
from medsweep.analysis.study.analyse import analyse
from medsweep.analysis.study.dead import DeadArm
from medsweep.analysis.study.mechanisms.texture import high_band_of
from medsweep.analysis.study.mechanisms.texture_verdict import (
    BAND,
    TextureEvidence,
    TextureOutcome,
    TextureReason,
    decide_texture,
)
from medsweep.analysis.study.mechanisms.texture_wording import REASONS, texture_sentences
from medsweep.analysis.study.mechanisms.why import WhyAsked
from medsweep.analysis.table.reduction import AnalysisRules
from medsweep.analysis.table.user_table import NO_DIAGNOSIS
from medsweep.metrics import SCORES
from medsweep.texture import TextureArms

MARGIN = 0.01


def around(value, half=0.005):
    return Estimate(value, half / 2, 20, 0.01, value - half, value + half, 0.95)


def laws(look=0.05, vendi=1.0, bias=0.0, random=0.1):
    return {"law_look": look, "law_vendi_share": vendi, "law_bias_px": bias, "law_random_px": random}


def case(shortfall=0.05, blotching=0.04, gain=0.0, mend=None, **other):
    """Blurred images of which one mend changes nothing."""
    given = TextureEvidence(
        shortfall=around(shortfall),
        blotching=around(blotching),
        gains={"mend": around(gain)},
        raw=laws(look=0.6),
        new_real=laws(),
        blotched=laws(look=0.55),
        mends={"mend": laws(look=0.1) if mend is None else mend},
    )
    return dataclasses.replace(given, **other)


def outcome(evidence):
    return decide_texture(evidence, MARGIN).outcome


def test_the_five_verdicts():
    assert outcome(case(shortfall=0.003, blotching=0.002)) is TextureOutcome.COSMETIC
    assert outcome(case(gain=0.03)) is TextureOutcome.MENDED
    assert outcome(case(gain=0.01)) is TextureOutcome.NOT_MENDED
    assert outcome(case(gain=-0.02)) is TextureOutcome.UNMASKING
    assert outcome(case(blotching=0.001)) is TextureOutcome.OTHER


@pytest.mark.parametrize(
    "mend",
    [
        pytest.param(laws(look=0.7), id="look no nearer"),
        pytest.param(laws(look=0.1, vendi=0.7), id="variety moved"),
        pytest.param(laws(look=0.1, bias=0.5), id="misfit raised"),
        pytest.param(laws(look=0.1, random=0.9), id="random misfit raised"),
    ],
)
def test_a_gain_that_may_come_from_elsewhere_mends_nothing(mend):
    assert outcome(case(gain=0.03)) is TextureOutcome.MENDED
    assert outcome(case(gain=0.03, mend=mend)) is TextureOutcome.NOT_MENDED


def test_less_misfit_is_no_reason_against_a_mend_and_one_against_unmasking():
    less = laws(look=0.1, bias=0.0)
    assert outcome(case(gain=0.03, mend=less, raw=laws(look=0.6, bias=0.6))) is TextureOutcome.MENDED
    assert outcome(case(gain=-0.02, mend=less, raw=laws(look=0.6, bias=0.6))) is not TextureOutcome.UNMASKING
    assert outcome(case(gain=-0.02, mend=laws(look=0.7))) is not TextureOutcome.UNMASKING


def test_half_of_the_shortfall_is_asked_of_a_mend_and_a_gain_that_is_shown():
    assert outcome(case(gain=0.0249)) is TextureOutcome.NOT_MENDED
    assert outcome(case(gain=0.0251)) is TextureOutcome.MENDED
    assert outcome(case(gains={"mend": around(0.03, half=0.04)})) is TextureOutcome.NOT_MENDED


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"one_run": True}, TextureReason.ONE_RUN),
        ({"shortfall": None}, TextureReason.DEAD),
        ({"blotching": None}, TextureReason.DEAD),
        ({"blotched": {}}, TextureReason.DOSE_NOT_MEASURED),
        ({"raw": {}}, TextureReason.DOSE_NOT_MEASURED),
        ({"blotched": laws(look=0.3)}, TextureReason.DOSE_NOT_DELIVERED),
        ({"blotched": laws(look=0.9)}, TextureReason.DOSE_NOT_DELIVERED),
        ({"blotched": laws(look=0.55, vendi=0.6)}, TextureReason.CONFOUNDED),
        ({"blotched": laws(look=0.55, bias=0.4)}, TextureReason.CONFOUNDED),
        ({"blotching": around(0.01, half=0.02)}, TextureReason.TOO_WIDE),
        ({"shortfall": around(0.0, half=0.02)}, TextureReason.NO_SHORTFALL),
        ({"gains": {"mend": around(0.03)}, "mends": {}}, TextureReason.LAWS_NOT_MEASURED),
    ],
)
def test_what_cannot_be_told_has_a_name_and_a_sentence(change, reason):
    found = decide_texture(dataclasses.replace(case(), **change), MARGIN)
    assert found.outcome is TextureOutcome.CANNOT_TELL
    assert reason in found.reasons
    assert set(REASONS) == set(TextureReason)


def test_blotched_slices_that_gain_cost_nothing():
    assert outcome(case(shortfall=0.003, blotching=-0.05)) is TextureOutcome.COSMETIC
    assert outcome(case(blotching=-0.05)) is TextureOutcome.OTHER


def test_a_look_like_that_of_reals_has_no_share_to_deliver():
    alike = {"raw": laws(), "blotched": laws(look=0.08)}
    assert outcome(case(blotching=0.0, **alike)) is TextureOutcome.OTHER
    assert outcome(case(blotching=0.0, raw=laws(), blotched=laws(look=0.3))) is TextureOutcome.CANNOT_TELL


def test_a_look_that_may_be_chance_is_not_missed_in_blotched_slices():
    raw = laws(look=0.2)
    assert outcome(case(blotching=0.0, raw=raw, blotched=laws())) is TextureOutcome.CANNOT_TELL
    assert outcome(case(blotching=0.0, raw=raw | {"law_look_shown": 0.2}, blotched=laws())) is TextureOutcome.OTHER


def test_a_look_that_is_not_there_in_any_run_needs_no_narrow_interval():
    wide, absent = around(0.0, half=0.02), laws(look=0.06) | {"law_look_shown": 0.0}
    found = decide_texture(dataclasses.replace(case(raw=absent, blotched=laws()), blotching=wide), MARGIN)
    assert (found.outcome, found.reasons) == (TextureOutcome.OTHER, (TextureReason.NO_LOOK,))
    for raw, blotched in ((absent | {"law_look_shown": 0.2}, laws()), (absent, laws(look=0.051))):
        evidence = dataclasses.replace(case(raw=raw, blotched=blotched), blotching=wide)
        assert decide_texture(evidence, MARGIN).reasons == (TextureReason.TOO_WIDE,)


def test_bands_decide_where_arms_leave_it_open_and_only_there():
    wide, small, large = around(0.005, half=0.02), around(0.0, BAND / 2), around(0.5, 0.1)
    assert outcome(case(shortfall=0.003, blotching=0.0, high_band=small)) is TextureOutcome.COSMETIC
    assert outcome(case(blotching=0.0, high_band=None)) is TextureOutcome.OTHER
    for shortfall, expected in ((0.003, TextureOutcome.COSMETIC), (0.05, TextureOutcome.OTHER)):
        evidence = dataclasses.replace(case(shortfall=shortfall), blotching=wide)
        assert outcome(evidence) is TextureOutcome.CANNOT_TELL
        assert outcome(dataclasses.replace(evidence, high_band=large)) is TextureOutcome.CANNOT_TELL
        assert outcome(dataclasses.replace(evidence, high_band=small)) is expected
    across = decide_texture(case(shortfall=0.003, blotching=0.0, high_band=around(BAND, 0.05)), MARGIN)
    assert (across.outcome, across.reasons) == (TextureOutcome.COSMETIC, ())
    against = decide_texture(case(high_band=small), MARGIN)
    assert (against.outcome, against.reasons) == (TextureOutcome.NOT_MENDED, (TextureReason.BANDS_DISAGREE,))
    beside = decide_texture(case(shortfall=0.003, blotching=0.0, high_band=large), MARGIN)
    assert (beside.outcome, beside.reasons) == (TextureOutcome.COSMETIC, (TextureReason.BANDS_DISAGREE,))


estimates = st.builds(around, st.floats(-0.1, 0.1), st.floats(0.0005, 0.1))
some_laws = st.dictionaries(
    st.sampled_from(["law_look", "law_vendi_share", "law_bias_px", "law_random_px"]), st.floats(-1, 1)
)
records = st.builds(
    TextureEvidence,
    shortfall=estimates | st.none(),
    blotching=estimates | st.none(),
    gains=st.fixed_dictionaries({"a": estimates, "b": estimates}),
    raw=some_laws | st.just(laws(look=0.6)),
    new_real=some_laws | st.just(laws()),
    blotched=some_laws | st.just(laws(look=0.6)),
    mends=st.fixed_dictionaries({name: some_laws | st.just(laws(look=0.1)) for name in "ab"}),
    high_band=estimates | st.none(),
    one_run=st.booleans(),
)


@given(records)
def test_no_verdict_goes_beyond_its_record(evidence):
    found = decide_texture(evidence, MARGIN)
    harmful = (TextureOutcome.MENDED, TextureOutcome.NOT_MENDED)
    if found.outcome is TextureOutcome.CANNOT_TELL:
        assert set(found.reasons) - {TextureReason.BANDS_DISAGREE}
        return
    assert not evidence.one_run
    assert evidence.shortfall is not None
    assert evidence.blotching is not None
    if found.outcome is not TextureOutcome.UNMASKING:
        assert {"law_look"} <= set(evidence.raw) & set(evidence.blotched) & set(evidence.new_real)
    if found.outcome in harmful:
        assert evidence.blotching.low > 0
        assert evidence.shortfall.low > 0
    if found.outcome is TextureOutcome.MENDED:
        best = [arm for arm in evidence.gains if arm in found.those(TextureOutcome.MENDED)]
        assert best
        for arm in best:
            assert evidence.gains[arm].low > 0
            assert evidence.gains[arm].value >= 0.5 * evidence.shortfall.value
            assert abs(evidence.mends[arm]["law_vendi_share"] - evidence.raw["law_vendi_share"]) <= 0.2
            assert evidence.mends[arm]["law_look"] < evidence.raw["law_look"]
    if found.outcome is TextureOutcome.UNMASKING:
        assert all(evidence.gains[arm].high < 0 for arm in found.those(TextureOutcome.UNMASKING))
        assert found.those(TextureOutcome.UNMASKING)
    if found.outcome is TextureOutcome.COSMETIC:
        assert evidence.shortfall.low <= 0 or evidence.shortfall.high < MARGIN
    if found.outcome is TextureOutcome.OTHER:
        assert evidence.shortfall.low > 0


@given(records, st.floats(2, 50))
def test_wider_intervals_never_show_harm_that_narrow_ones_did_not(evidence, factor):
    def widened(one):
        half = factor * (one.high - one.value)
        return dataclasses.replace(one, low=one.value - half, high=one.value + half)

    wide = dataclasses.replace(
        evidence,
        shortfall=evidence.shortfall and widened(evidence.shortfall),
        blotching=evidence.blotching and widened(evidence.blotching),
        gains={name: widened(one) for name, one in evidence.gains.items()},
    )
    if outcome(wide) is TextureOutcome.MENDED:
        assert outcome(evidence) is TextureOutcome.MENDED


ARMS = TextureArms(raw="raw", new_real="new", blotched="blotched", mends=("sharpened", "noised"))
NAMES = ["real", "new", "raw", "blotched", "sharpened", "noised"]


def pools_of(**wrong):
    by_arm = {"new": laws(), "raw": laws(look=0.6), "blotched": laws(look=0.58)}
    by_arm |= {"sharpened": laws(look=0.1), "noised": laws(look=0.4)} | wrong
    rows = [
        (arm, 0, seed, arm, name, value)
        for arm, some in by_arm.items()
        for seed in range(5)
        for name, value in some.items()
    ]
    return pd.DataFrame(rows, columns=["arm", "fold", "seed", "digest", "metric", "value"])


def study(costs, pools, dead=(), diagnosis=NO_DIAGNOSIS, **settings):
    infos = [ArmInfo(name, {}, control=name == "real") for name in NAMES]
    table = score_table(costs, names=[name for name in NAMES if name not in dead], **settings)
    lost = [DeadArm(name, "all trainings failed") for name in dead]
    rules = AnalysisRules(margin=0.015)
    why = WhyAsked(texture=ARMS, diagnosis=diagnosis)
    return analyse(table, pools, rules, arms=infos, dead=lost, why=why).texture


def told(found):
    return " ".join(texture_sentences(found, SCORES["dice"], 0.015))


def test_planted_blur_is_harmful_texture_and_what_sharpens_it_mends_it():
    blur = {"raw": 0.05, "blotched": 0.05, "sharpened": 0.01, "noised": 0.045}
    found = study(blur, pools_of())
    assert found.verdict.outcome is TextureOutcome.MENDED
    assert found.verdict.those(TextureOutcome.MENDED) == ("sharpened",)
    assert found.evidence.shortfall.value == pytest.approx(0.05, abs=0.01)
    assert "Texture of raw: harmful and mended." in told(found)
    assert "sharpened closes half of the shortfall" in told(found)
    assert study(blur | {"sharpened": 0.045}, pools_of()).verdict.outcome is TextureOutcome.NOT_MENDED


def test_right_texture_with_shifted_masks_is_not_texture():
    shifted = laws(bias=1.0)
    pools = pools_of(raw=shifted, blotched=laws(look=0.06), sharpened=shifted, noised=laws(look=0.4, bias=1.0))
    found = study({"raw": 0.07, "sharpened": 0.07, "noised": 0.07}, pools)
    assert found.verdict.outcome is TextureOutcome.OTHER
    assert "raw harms, and not by its texture" in told(found)


def test_scores_of_one_run_have_numbers_and_no_verdict():
    found = study({"raw": 0.05, "blotched": 0.05}, pools_of(), seeds=1)
    assert found.verdict.reasons == (TextureReason.ONE_RUN,)
    assert "conditional on the trained models" in told(found)


def test_a_dead_arm_takes_what_it_is_part_of():
    found = study({"raw": 0.05}, pools_of(), dead=("blotched", "noised"))
    assert [test.name for test in found.costs] == ["shortfall"]
    assert [test.name for test in found.gains] == ["sharpened"]
    assert found.lost == ("blotched", "noised")
    assert found.verdict.reasons == (TextureReason.DEAD,)


def test_the_effect_of_the_high_band_is_told_per_loss_on_training_slices():
    rows = [
        ("raw", 0, seed, "d", "100", quantity, "all", source, value)
        for seed in range(4)
        for quantity, source, value in (
            ("high_band_effect", "pool", 0.03 + 0.001 * seed),
            ("control_high_band_effect", "pool", 9.0),
            ("cross_entropy", "train", 0.1),
            ("cross_entropy", "pool", 0.9),
        )
    ]
    diagnosis = pd.DataFrame(rows, columns=NO_DIAGNOSIS.columns)
    found = high_band_of(diagnosis, "raw", 0.95)
    assert found.value == pytest.approx(0.315)
    assert found.low > BAND
    assert high_band_of(diagnosis, "new", 0.95) is None
    assert high_band_of(diagnosis[diagnosis["seed"] == 0], "raw", 0.95) is None
    blur = {"raw": 0.05, "blotched": 0.05, "sharpened": 0.01}
    assert study(blur, pools_of(), diagnosis=diagnosis).verdict.band_matters == "yes"


def test_lower_distances_are_the_better_ones():
    table = score_table({"raw": -0.05, "blotched": -0.05, "sharpened": -0.01, "noised": -0.045}, names=NAMES)
    table["metric"] = "hd95_mm"
    infos = [ArmInfo(name, {}, control=name == "real") for name in NAMES]
    rules = AnalysisRules(primary="hd95_mm", margin=0.015)
    found = analyse(table, pools_of(), rules, arms=infos, why=WhyAsked(texture=ARMS)).texture
    assert found.verdict.outcome is TextureOutcome.MENDED
    assert not math.isnan(found.verdict.mends[0].closed)
    assert np.sign(found.evidence.shortfall.value) == 1
