"""The sentences on accumulation, each made from the record alone."""

from collections.abc import Iterator, Mapping
from typing import Final

from medsweep.analysis.records import Estimate
from medsweep.analysis.study.mechanisms.accumulation import AccumulationStudy
from medsweep.analysis.study.mechanisms.accumulation_verdict import MARGIN_PX, MISSED, Doubt, Sentence
from medsweep.analysis.study.mechanisms.cause_wording import cost_text
from medsweep.analysis.study.mechanisms.causes import shown
from medsweep.analysis.study.mechanisms.misfit import WiderInterval
from medsweep.analysis.study.wording import amount, number, percent, span
from medsweep.metric_record import Metric

OUTCOMES: Final[Mapping[Sentence, str]] = {
    Sentence.OBEYS: "C-SG obeys its masks and M-SG adds no misfit. Nothing accumulates.",
    Sentence.ADDS: "C-SG disobeys whatever mask it gets. Errors add, and none accumulates. Mend C-SG.",
    Sentence.ACCUMULATES: "Misfit accumulates in the images: C-SG obeys M-SG's masks less than real ones.",
    Sentence.HINDERS: "Misfit accumulates in the images and hinders the U-Net",
    Sentence.EASIER: "M-SG's masks are easier to paint than real ones, since their shapes are typical. Look at the "
    "variety of masks before praising them.",
}
REASONS: Final[Mapping[Doubt, str]] = {
    Doubt.ONE_RUN: "one run: misfits and costs hold for one trained generator; run more seeds or folds",
    Doubt.NO_NEW_MASKS: "misfit on new masks not measured: its judge needs real slices that it has not seen "
    "(replicates.validation), and pools that are assessed (assess.enabled)",
    Doubt.NO_STEP: "misfit on generated masks not measured in the runs in which that on new masks is",
    Doubt.JUDGE: "depends on the judge: two judges tell misfits apart by more than their intervals",
    Doubt.BLIND: f"in images of C-SG the judge finds nothing of many masks, over {percent(MISSED)} more than in unseen "
    "real slices. Either these images do not show them, or it does not know such images. Misfits leave them out",
    Doubt.WIDE_NEW: f"the misfit on new masks is known too roughly to rule out {MARGIN_PX:g} px; run more seeds",
    Doubt.WIDE_STEP: "the misfit that generated masks add is known too roughly to place it within "
    f"{MARGIN_PX:g} px; run more seeds",
    Doubt.NO_WARPED: "no scores of new real slices, or none of these warped to M-SG masks (accumulation.new_real, "
    "accumulation.warped): whether it reaches the U-Net is not told, and costs hold in the order of the chain alone",
    Doubt.WIDE_INTERACTION: "the interaction is known too roughly to say whether it reaches the U-Net; run more seeds",
    Doubt.UNSEEN_INTERACTION: "the U-Net shows an interaction of masks and images that no misfit of masks explains",
}


def sentences(study: AccumulationStudy, metric: Metric) -> tuple[str, ...]:
    """The verdict, what it rests on, and by name what cannot be told."""
    verdict = study.verdict
    found = [*_verdict(study, metric), *_misfits(study), *_slopes(study), *_memorised(study, metric)]
    return (*found, *(f"Cannot tell: {REASONS[reason]}." for reason in verdict.cannot_tell))


def _verdict(study: AccumulationStudy, metric: Metric) -> Iterator[str]:
    outcome, reaches = study.verdict.outcome, study.verdict.reaches
    if outcome is Sentence.CANNOT_TELL:
        return
    text, interaction = OUTCOMES[outcome], study.cost("interaction")
    if outcome is Sentence.HINDERS and interaction is not None:
        shortfall = study.cost("shortfall")
        of = "" if shortfall is None else f" of a shortfall of {cost_text(shortfall, metric)}"
        text = f"{text}: by {amount(cost_text(interaction, metric), metric)}{of}."
    elif outcome is Sentence.ACCUMULATES and reaches == "no" and interaction is not None:
        text += f" It does not reach the U-Net (interaction {amount(cost_text(interaction, metric), metric)})."
    yield text


def _misfits(study: AccumulationStudy) -> Iterator[str]:
    misfits = study.misfits
    if misfits is None or misfits.new is None:
        return
    text = f"Beside unseen real slices, images for new masks have {px(misfits.new)} more HD95 from their masks"
    if misfits.step is not None:
        text += f", and images for M-SG masks {px(misfits.step)} more than these, "
        if misfits.odd is None:
            text += "with what a judge sees worse wherever a mask is odd still in it"
        else:
            text += f"once freed of the {px(misfits.odd)} that real images have where they are warped to M-SG masks"
    yield f"{text} (judge: {misfits.judge})."


def _slopes(study: AccumulationStudy) -> Iterator[str]:
    slopes = study.slopes
    if slopes is None:
        return
    beta = slopes.beta
    painted = (
        "odd masks are painted worse, or the judge sees them worse"
        if beta.low > 0
        else "odd masks are painted better, or the judge sees them better"
        if beta.high < 0
        else "not shown"
    )
    yield (
        f"A mask whose nearest one of other people is 1 px further away (HD95) has {px(beta)} more misfit: {painted}."
    )
    if slopes.dose is not None:
        yield f"Each px by which masks of left-out patients are perturbed adds {px(slopes.dose)} of misfit."
    if slopes.beyond is not None:
        worse = (
            "M-SG has artefacts beyond odd shapes, or such as a judge sees worse"
            if slopes.beyond.low > 0
            else "nothing beyond odd shapes is shown"
        )
        yield f"At equal distance M-SG masks have {px(slopes.beyond)} more misfit than perturbed ones: {worse}."


def _memorised(study: AccumulationStudy, metric: Metric) -> Iterator[str]:
    cost = study.cost("memorised masks")
    if cost is not None and not any(test.test.conditional for test in study.tests["memorised"]):
        told = "it paints them worse, or paints nothing new in them" if shown(cost) else "not shown"
        yield (
            f"From masks that C-SG has not seen a U-Net gains {amount(cost_text(cost, metric), metric)} less than from "
            f"new slices with such masks: {told}."
        )


def px(value: WiderInterval | Estimate) -> str:
    """``+0.31 px (+0.12 to +0.50)``."""
    return f"{number(value.value, 2, sign=True)} px ({span(value.low, value.high, 2)})"
