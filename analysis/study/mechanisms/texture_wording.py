"""The sentences on texture, each made from the record alone."""

from collections.abc import Iterator, Mapping
from typing import Final

from medsweep.analysis.study.mechanisms.cause_wording import cost_text
from medsweep.analysis.study.mechanisms.causes import shown
from medsweep.analysis.study.mechanisms.texture import TextureStudy
from medsweep.analysis.study.mechanisms.texture_verdict import (
    CLOSED,
    VARIETY,
    MendFinding,
    TextureOutcome,
    TextureReason,
)
from medsweep.analysis.study.wording import amount, percent
from medsweep.metric_record import Metric

REASONS: Final[Mapping[TextureReason, str]] = {
    TextureReason.ONE_RUN: "too few runs per arm: all costs are conditional on the trained models; train with more "
    "seeds",
    TextureReason.DEAD: "an arm without scores: raw, new real and blotched slices are all needed",
    TextureReason.NO_SHORTFALL: "no shortfall shown: the texture costs on real slices, yet raw loses nothing that is "
    "shown, so there is nothing to mend",
    TextureReason.TOO_WIDE: "interval too wide: whether the texture alone costs anything is neither shown nor "
    "confined to the margin, and the loss by band does not decide it; train with more seeds",
    TextureReason.DOSE_NOT_MEASURED: "dose not measured: whether blotched slices have the look of raw is not known; "
    "it takes assessed pools (law_look)",
    TextureReason.DOSE_NOT_DELIVERED: "dose not delivered: blotched slices do not have the look of raw",
    TextureReason.CONFOUNDED: "blotched slices differ from new real ones in more than their look",
    TextureReason.LAWS_NOT_MEASURED: "laws of mends not measured: whether a mend left variety and misfit alone is not "
    "known",
    TextureReason.BANDS_DISAGREE: "bands disagree: under the networks of raw the high band says otherwise. Arms decide",
    TextureReason.NO_LOOK: "no look of its own: in every run the texture of raw is one that real patients have "
    "among themselves, so blotched slices are the new real ones as they are",
}
"""What stands against a verdict, or beside it."""


def texture_sentences(study: TextureStudy, metric: Metric, margin: float) -> tuple[str, ...]:
    """Costs, the verdict, each mend, and by name what cannot be told."""
    verdict, found = study.verdict, [*_costs(study, metric)]
    found.append(f"Texture of {study.arms.raw}: {verdict.outcome}. {_meaning(study, metric, margin)}")
    if not study.evidence.one_run:
        found += [_mend(one, metric) for one in verdict.mends]
    lead = "Cannot tell" if verdict.outcome is TextureOutcome.CANNOT_TELL else "Note"
    found += [f"{lead}: {REASONS[reason]}." for reason in verdict.reasons]
    return tuple(found)


def _costs(study: TextureStudy, metric: Metric) -> Iterator[str]:
    evidence, arms = study.evidence, study.arms
    named = {
        f"{arms.raw} costs": evidence.shortfall,
        f"their texture alone, on real slices ({arms.blotched}), costs": evidence.blotching,
    }
    parts = [
        f"{name} {amount(cost_text(cost, metric), metric)}, "
        f"{'conditional' if evidence.one_run else 'shown' if shown(cost) else 'not shown'}"
        for name, cost in named.items()
        if cost is not None
    ]
    if parts:
        yield f"Against new real slices ({arms.new_real}), {'; '.join(parts)}."


def _meaning(study: TextureStudy, metric: Metric, margin: float) -> str:
    outcome, raw = study.verdict.outcome, study.arms.raw
    those = ", ".join(study.verdict.those(outcome))
    match outcome:
        case TextureOutcome.COSMETIC:
            return f"No cost of it above the margin, {amount(f'{margin:g}', metric)}, is left to find."
        case TextureOutcome.MENDED:
            return f"It harms on real slices too, and {those} closes half of the shortfall or more by it."
        case TextureOutcome.NOT_MENDED:
            return "It harms on real slices too, and no mend here closes half of the shortfall by it."
        case TextureOutcome.UNMASKING:
            return (
                f"{those} brings the look nearer to real, and {metric.title} gets worse while masks fit as before. The "
                "look had hidden misfit of masks and images from the network."
            )
        case TextureOutcome.OTHER:
            return (
                f"{raw} harms, and not by its texture as measured here (spectrum, values of classes, local SD). "
                "Phases, structure, masks or variety are left."
            )
        case TextureOutcome.CANNOT_TELL:
            return "Nothing is named."


def _mend(one: MendFinding, metric: Metric) -> str:
    text = f"{one.arm} gains {amount(cost_text(one.gain, metric), metric)}"
    if one.closed == one.closed:
        text += f", {percent(round(one.closed, 3))} of the shortfall ({percent(CLOSED)} are asked)"
    changes = (
        ("its look is nearer to real", "its look is no nearer to real", "its look was not measured", one.look_closer),
        (
            "variety stays",
            f"variety moves by more than {VARIETY:g}",
            "variety was not measured",
            one.variety_kept,
        ),
        ("misfit is raised", "misfit is not raised", "misfit was not measured", one.misfit_raised),
    )
    told = [yes if found == "yes" else no if found == "no" else unknown for yes, no, unknown, found in changes]
    return f"{text}; {', '.join(told)}."
