"""What a sweep that asks why answers, in sentences: those of its mechanism, its texture and its accumulation."""

from medsweep.analysis.study.mechanisms import accumulation_wording, cause_wording
from medsweep.analysis.study.mechanisms.accumulation import AccumulationStudy
from medsweep.analysis.study.mechanisms.mechanism import MechanismStudy
from medsweep.analysis.study.mechanisms.texture import TextureStudy
from medsweep.analysis.study.mechanisms.texture_wording import texture_sentences
from medsweep.metric_record import Metric


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
