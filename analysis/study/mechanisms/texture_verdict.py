"""The decision on texture: one function from records to a verdict, fixed before any result is seen."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from medsweep.analysis.records import Bounded, Estimate
from medsweep.analysis.study.mechanisms.causes import shown
from medsweep.analysis.study.mechanisms.instruments import YesNo, answer
from medsweep.analysis.study.mechanisms.laws import BY_COLUMN, ON, SHOWN

CLOSED: Final = 0.5
"""Share of the shortfall that a mend closes at least."""
VARIETY: Final = 0.2
"""Change of the Vendi share beyond which a gain may come from variety."""
BAND: Final = 0.1
"""Share of the loss on real slices below which the effect of a band does not matter."""
LOOK: Final = "law_look"
VENDI: Final = "law_vendi_share"
LABELS: Final = ("law_bias_px", "law_random_px")

Laws = Mapping[str, float]
"""Measures of a pool by the name of their column, as in ``laws``; what is missing was not measured."""


class TextureOutcome(StrEnum):
    """What the procedure comes to."""

    COSMETIC = "cosmetic"
    MENDED = "harmful and mended"
    NOT_MENDED = "harmful, not mended"
    UNMASKING = "unmasking"
    OTHER = "other"
    CANNOT_TELL = "cannot tell"


class TextureReason(StrEnum):
    """Why nothing is named, or a mend does not count."""

    ONE_RUN = "one run"
    DEAD = "an arm without scores"
    NO_SHORTFALL = "no shortfall shown"
    TOO_WIDE = "interval too wide"
    DOSE_NOT_MEASURED = "dose not measured"
    DOSE_NOT_DELIVERED = "dose not delivered"
    CONFOUNDED = "blotched slices differ in more than look"
    LAWS_NOT_MEASURED = "laws of mends not measured"
    BANDS_DISAGREE = "bands disagree"
    NO_LOOK = "no look of its own"


@dataclass(frozen=True)
class TextureEvidence:
    """Contrasts with their simultaneous intervals, laws of pools, and what the networks said of bands."""

    shortfall: Estimate | None
    """New real slices minus ``raw``."""
    blotching: Estimate | None
    """New real slices minus blotched ones."""
    gains: Mapping[str, Estimate]
    """Each mend minus ``raw``."""
    raw: Laws
    new_real: Laws
    blotched: Laws
    mends: Mapping[str, Laws]
    high_band: Bounded | None = None
    """Effect of the high band on the loss of the networks of ``raw``, as a share of their loss on real slices."""
    one_run: bool = False
    """Too few networks were trained, so that costs are conditional on them."""


@dataclass(frozen=True)
class MendFinding:
    """One mend: what it gains, and what else it changed."""

    arm: str
    gain: Estimate
    closed: float
    """Share of the shortfall; NaN where no shortfall is shown."""
    look_closer: YesNo
    variety_kept: YesNo
    misfit_raised: YesNo
    misfit_changed: YesNo

    @property
    def closes(self) -> bool:
        """Whether it closes half of the shortfall or more, and gains for certain."""
        return shown(self.gain) and self.closed >= CLOSED

    @property
    def mends(self) -> bool:
        """Whether the gain may be put down to texture."""
        return self.closes and (self.look_closer, self.variety_kept, self.misfit_raised) == ("yes", "yes", "no")

    @property
    def unmasks(self) -> bool:
        """Whether a look nearer to real costs, though masks fit as they did."""
        return self.gain.high < 0 and (self.look_closer, self.misfit_changed) == ("yes", "no")

    @property
    def unmeasured(self) -> bool:
        """Whether a law is missing without which this finding has no meaning."""
        answers = self.look_closer, self.variety_kept, self.misfit_raised, self.misfit_changed
        return (self.closes or self.gain.high < 0) and "not measured" in answers


@dataclass(frozen=True)
class TextureVerdict:
    """The outcome, why it is no more, and a finding per mend."""

    outcome: TextureOutcome
    reasons: tuple[TextureReason, ...] = ()
    mends: tuple[MendFinding, ...] = ()
    band_matters: YesNo = "not measured"

    def those(self, outcome: TextureOutcome) -> tuple[str, ...]:
        """Names of the mends that make up the outcome."""
        holds = {TextureOutcome.MENDED: "mends", TextureOutcome.UNMASKING: "unmasks"}.get(outcome)
        return tuple(one.arm for one in self.mends if holds is not None and getattr(one, holds))


def decide_texture(evidence: TextureEvidence, margin: float) -> TextureVerdict:
    """The verdict on texture.

    Args:
        evidence: contrasts, laws and bands; NaN and None are not measured.
        margin: cost that does not matter.
    """
    band = _band(evidence.high_band)
    shortfall, blotching = evidence.shortfall, evidence.blotching
    if evidence.one_run or shortfall is None or blotching is None:
        reason = TextureReason.ONE_RUN if evidence.one_run else TextureReason.DEAD
        return TextureVerdict(TextureOutcome.CANNOT_TELL, (reason,), band_matters=band)
    mends = tuple(_mend(arm, gain, evidence) for arm, gain in evidence.gains.items())
    outcome, reasons = _outcome(evidence, mends, shortfall, blotching, margin)
    if (outcome, band) == (TextureOutcome.COSMETIC, "yes") or (outcome in _HARMFUL and band == "no"):
        reasons = (*reasons, TextureReason.BANDS_DISAGREE)
    return TextureVerdict(outcome, reasons, mends, band)


_HARMFUL: Final = (TextureOutcome.MENDED, TextureOutcome.NOT_MENDED)


def _outcome(
    evidence: TextureEvidence,
    mends: tuple[MendFinding, ...],
    shortfall: Estimate,
    blotching: Estimate,
    margin: float,
) -> tuple[TextureOutcome, tuple[TextureReason, ...]]:
    unmeasured = (TextureReason.LAWS_NOT_MEASURED,) if any(one.unmeasured for one in mends) else ()
    if not any(one.mends for one in mends) and any(one.unmasks for one in mends):
        return TextureOutcome.UNMASKING, unmeasured
    against = _against_blotching(evidence)
    if against:
        return TextureOutcome.CANNOT_TELL, (*against, *unmeasured)
    if evidence.raw.get(SHOWN) == 0 and evidence.blotched[LOOK] == evidence.new_real[LOOK]:
        # blotched slices are the new ones, bit for bit, and the width of an interval of equal arms says nothing
        return _without_harm(shortfall, margin), (TextureReason.NO_LOOK,)
    if _costs(blotching, margin):
        return _harmful(mends, unmeasured, explained=shown(shortfall))
    if not (blotching.high < margin or _band(evidence.high_band) == "no"):
        return TextureOutcome.CANNOT_TELL, (TextureReason.TOO_WIDE,)
    return _without_harm(shortfall, margin), ()


def _without_harm(shortfall: Estimate, margin: float) -> TextureOutcome:
    """Where texture alone costs nothing on real slices."""
    return TextureOutcome.OTHER if _costs(shortfall, margin) else TextureOutcome.COSMETIC


def _harmful(
    mends: tuple[MendFinding, ...], unmeasured: tuple[TextureReason, ...], *, explained: bool
) -> tuple[TextureOutcome, tuple[TextureReason, ...]]:
    """Where texture alone costs something on real slices."""
    if not explained:
        return TextureOutcome.CANNOT_TELL, (TextureReason.NO_SHORTFALL,)
    if any(one.mends for one in mends):
        return TextureOutcome.MENDED, ()
    return (TextureOutcome.CANNOT_TELL if unmeasured else TextureOutcome.NOT_MENDED), unmeasured


def _costs(estimate: Estimate, margin: float) -> bool:
    """Whether a cost is shown, and not that it is below the margin."""
    return shown(estimate) and estimate.high >= margin


def _band(effect: Bounded | None) -> YesNo:
    """Whether the high band matters to the loss; an interval across the limit has not answered."""
    if effect is None or math.isnan(effect.low) or math.isnan(effect.high):
        return "not measured"
    if effect.low > -BAND and effect.high < BAND:
        return "no"
    return "yes" if effect.low > BAND else "not measured"


def _against_blotching(evidence: TextureEvidence) -> tuple[TextureReason, ...]:
    """Why blotched slices do not stand for the texture of ``raw``: they must have its look, and nothing else of it."""
    raw, blotched, new = (laws.get(LOOK, math.nan) for laws in (evidence.raw, evidence.blotched, evidence.new_real))
    if any(map(math.isnan, (raw, blotched, new))):
        return (TextureReason.DOSE_NOT_MEASURED,)
    delivered = (blotched - new) / (raw - new) if raw != new else math.nan
    reasons = []
    # a look that may be chance is not planted
    chance = evidence.raw.get(SHOWN, 1.0) < 0.5
    if not (chance or ON[0] <= delivered <= ON[1] or BY_COLUMN[LOOK].same(blotched, raw)):
        reasons.append(TextureReason.DOSE_NOT_DELIVERED)
    moved = {_changed(evidence.new_real, evidence.blotched, name) for name in LABELS}
    if "yes" in moved or _kept(evidence.new_real, evidence.blotched) == "no":
        reasons.append(TextureReason.CONFOUNDED)
    return tuple(reasons)


def _mend(arm: str, gain: Estimate, evidence: TextureEvidence) -> MendFinding:
    laws = evidence.mends.get(arm, {})
    before, after = evidence.raw.get(LOOK, math.nan), laws.get(LOOK, math.nan)
    shortfall = evidence.shortfall
    return MendFinding(
        arm,
        gain,
        closed=gain.value / shortfall.value if shortfall is not None and shown(shortfall) else math.nan,
        look_closer="not measured" if math.isnan(before + after) else answer(after < before),
        variety_kept=_kept(evidence.raw, laws),
        misfit_raised=_any(_changed(evidence.raw, laws, name, raised=True) for name in LABELS),
        misfit_changed=_any(_changed(evidence.raw, laws, name) for name in LABELS),
    )


def _kept(before: Laws, after: Laws) -> YesNo:
    change = after.get(VENDI, math.nan) - before.get(VENDI, math.nan)
    return "not measured" if math.isnan(change) else answer(abs(change) <= VARIETY)


def _changed(before: Laws, after: Laws, name: str, *, raised: bool = False) -> YesNo:
    """Whether a label law moved by more than the measurement resolves; with ``raised``, away from 0."""
    law = BY_COLUMN[name]
    old, new = (laws.get(name, math.nan) for laws in (before, after))
    if math.isnan(old + new):
        return "not measured"
    if raised:
        return answer(abs(new) ** law.power - abs(old) ** law.power > law.resolution)
    return answer(not law.same(old, new))


def _any(answers: Iterable[YesNo]) -> YesNo:
    """Yes where one is; no only where all were measured."""
    found = set(answers)
    return "yes" if "yes" in found else "not measured" if "not measured" in found else "no"
