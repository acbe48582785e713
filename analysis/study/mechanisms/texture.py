"""Whether fine texture harms, and whether mending it helps: contrasts of arms, laws of their pools, and the verdict."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from medsweep.analysis.records import Estimate, mean_estimate
from medsweep.analysis.study.contrasts import ContrastTest, ContrastTester
from medsweep.analysis.study.mechanisms.laws import SHOWN
from medsweep.analysis.study.mechanisms.texture_verdict import (
    LABELS,
    LOOK,
    VENDI,
    Laws,
    TextureEvidence,
    TextureVerdict,
    decide_texture,
)
from medsweep.texture import TextureArms

SHORTFALL, BLOTCHING = "shortfall", "texture alone"


@dataclass(frozen=True)
class TextureStudy:
    """Costs of texture, gains of mends, laws of all these pools, and the verdict."""

    arms: TextureArms
    costs: tuple[ContrastTest, ...]
    """``SHORTFALL`` and ``BLOTCHING``, one family; empty where an arm of them is dead."""
    gains: tuple[ContrastTest, ...]
    """Each mend against ``raw``, one family, without dead arms."""
    evidence: TextureEvidence
    verdict: TextureVerdict
    lost: tuple[str, ...]
    """Arms of the section that are dead."""


def texture_of(arms: TextureArms, tester: ContrastTester, pools: pd.DataFrame, diagnosis: pd.DataFrame) -> TextureStudy:
    """All contrasts on the primary metric, laws and bands as far as they are measured, and what they come to.

    Args:
        arms: the section of the sweep.
        tester: of contrasts of these arms.
        pools: measures of the arms' pools, as in ``analyse``.
        diagnosis: what the diagnose stage found, as in ``WhyAsked``.
    """
    sign = 1.0 if tester.reduced.metric.higher_is_better else -1.0
    worse = {SHORTFALL: arms.raw, BLOTCHING: arms.blotched}
    costs = tester.family({name: {arms.new_real: sign, arm: -sign} for name, arm in worse.items()})
    gains = tester.family({mend: {mend: sign, arms.raw: -sign} for mend in arms.mends})
    found = {test.name: test.estimate for test in costs}
    laws = laws_by_arm(pools)
    evidence = TextureEvidence(
        shortfall=found.get(SHORTFALL),
        blotching=found.get(BLOTCHING),
        gains={test.name: test.estimate for test in gains},
        raw=laws.get(arms.raw, {}),
        new_real=laws.get(arms.new_real, {}),
        blotched=laws.get(arms.blotched, {}),
        mends={mend: laws.get(mend, {}) for mend in arms.mends},
        high_band=high_band_of(diagnosis, arms.raw, tester.level),
        one_run=any(test.test.conditional for test in (*costs, *gains)),
    )
    lost = tuple(arm for _, arm in arms.places() if arm in tester.dead)
    return TextureStudy(arms, costs, gains, evidence, decide_texture(evidence, tester.rules.margin), lost)


def laws_by_arm(pools: pd.DataFrame) -> dict[str, Laws]:
    """Look, whether it is shown, Vendi share and label laws of each arm's pools, means over folds and seeds."""
    rows = pools[pools["metric"].isin([LOOK, SHOWN, VENDI, *LABELS])].dropna(subset=["value"])
    found: dict[str, dict[str, float]] = {}
    for (arm, name), values in rows.groupby(["arm", "metric"])["value"]:
        found.setdefault(str(arm), {})[str(name)] = float(values.astype(float).mean())
    return dict(found)


def high_band_of(diagnosis: pd.DataFrame, arm: str, level: float) -> Estimate | None:
    """Effect of the high band on the loss after the last step, over the loss on training slices.

    With a t interval over folds and seeds; None with fewer than two, or where no pool had pairs to swap bands of.
    """
    rows = diagnosis[(diagnosis["arm"] == arm) & (diagnosis["when"] == "100") & (diagnosis["group"] == "all")]
    asked: Mapping[str, tuple[str, str]] = {
        "effect": ("high_band_effect", "pool"),
        "loss": ("cross_entropy", "train"),
    }
    by_run = {
        name: rows[(rows["quantity"] == quantity) & (rows["source"] == source)].set_index(["fold", "seed"])["value"]
        for name, (quantity, source) in asked.items()
    }
    share = (by_run["effect"].astype(float) / by_run["loss"].astype(float)).dropna()
    found = mean_estimate(np.asarray(share, dtype=np.float64), level)
    return None if math.isnan(found.low) else found
