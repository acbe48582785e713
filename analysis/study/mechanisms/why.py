"""A sweep that asks why: its sections mechanism, texture and accumulation, and the sentences that answer them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import pandas as pd

from medsweep.accumulation import Accumulation
from medsweep.analysis.study.mechanisms import accumulation_wording, cause_wording
from medsweep.analysis.study.mechanisms.accumulation import AccumulationStudy
from medsweep.analysis.study.mechanisms.mechanism import MechanismStudy
from medsweep.analysis.study.mechanisms.misfit import NO_SAMPLES
from medsweep.analysis.study.mechanisms.texture import TextureStudy
from medsweep.analysis.study.mechanisms.texture_wording import texture_sentences
from medsweep.analysis.table.user_table import NO_DIAGNOSIS
from medsweep.mechanism import Mechanism
from medsweep.metric_record import Metric
from medsweep.texture import TextureArms


@dataclass(frozen=True)
class WhyAsked:
    """The sections of a sweep that ask why, and what was measured for them."""

    mechanism: Mechanism | None = None
    """The arms that tell why one of them costs what it costs."""
    texture: TextureArms | None = None
    """The arms that tell whether fine texture harms."""
    accumulation: Accumulation | None = None
    """The arms that tell whether errors of masks accumulate."""
    levels: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Weights of arms by name: arms against the same real slices again and against new ones."""
    diagnosis: pd.DataFrame = field(default_factory=NO_DIAGNOSIS.copy)
    """Columns arm, fold, seed, digest, when, quantity, group, source and value, of networks; may be empty."""
    samples: pd.DataFrame = field(default_factory=NO_SAMPLES.copy)
    """See ``misfits_of``; may be empty."""

    @property
    def lattice(self) -> tuple[str, ...]:
        """All eight cells of the lattice; empty where there is none."""
        arms = self.mechanism
        return () if arms is None or arms.ceiling is None or not arms.planted else (arms.ceiling, *arms.planted)

    @property
    def of_planted(self) -> tuple[str, ...]:
        """A sentence on the arms of the lattice, whose verdicts against the control are easily misread."""
        if not self.lattice or self.mechanism is None:
            return ()
        return (
            f"{', '.join(self.lattice[1:-1])} and {self.lattice[-1]} are new real slices with what was measured in "
            f"{self.mechanism.explain} planted in them. Hold them against {self.lattice[0]}; the headline leaves them "
            "out.",
        )


NOTHING_ASKED: Final = WhyAsked()


def why_sentences(
    mechanism: MechanismStudy | None,
    texture: TextureStudy | None,
    accumulation: AccumulationStudy | None,
    metric: Metric,
    margin: float,
) -> tuple[str, ...]:
    """None where the sweep does not ask."""
    return (
        *(cause_wording.sentences(mechanism, metric, margin) if mechanism else ()),
        *(texture_sentences(texture, metric, margin) if texture else ()),
        *(accumulation_wording.sentences(accumulation, metric) if accumulation else ()),
    )
