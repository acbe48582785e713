"""Whether fine texture harms, and whether mending it helps: costs, gains, what pools delivered, and the verdict."""

import math
from collections.abc import Iterator, Mapping
from functools import partial

from medsweep.analysis.report.document import Block, Bullets, Prose
from medsweep.analysis.report.table import DASH, Columns, Table, bare_p, interval, table_of
from medsweep.analysis.report.topic import Material, Topic
from medsweep.analysis.study.analyse import Analysis
from medsweep.analysis.study.contrasts import ContrastTest
from medsweep.analysis.study.mechanisms.laws import BY_COLUMN
from medsweep.analysis.study.mechanisms.texture import TextureStudy
from medsweep.analysis.study.mechanisms.texture_verdict import LABELS, LOOK, VENDI, Laws, MendFinding
from medsweep.analysis.study.mechanisms.texture_wording import texture_sentences
from medsweep.analysis.study.wording import CONDITIONAL, number, percent


def _contrasts(analysis: Analysis, study: TextureStudy) -> Table:
    """Costs and gains, each kind a family of its own."""
    digits, level = analysis.primary.metric.digits + 1, percent(1 - analysis.rules.alpha)
    rows = [*(("cost", test) for test in study.costs), *(("gain", test) for test in study.gains)]
    findings = {one.arm: one for one in study.verdict.mends}
    columns: Columns[tuple[str, ContrastTest]] = {
        "of": lambda row: row[1].name,
        "what": lambda row: row[0],
        "n": lambda row: str(row[1].test.patients),
        "size": lambda row: number(row[1].estimate.value, digits, sign=True),
        f"{level} CI, all of its kind": lambda row: interval(row[1].estimate, digits),
        "p, adjusted": lambda row: bare_p(row[1].estimate.p),
        "of the shortfall": lambda row: _closed(findings.get(row[1].name)),
    }
    caption = (
        f"What texture costs against new real slices, and what mends gain against {study.arms.raw}, in "
        f"{analysis.primary.metric.title}. Both are above 0 where texture harms or a mend helps."
    )
    if study.evidence.one_run:
        caption += f" All of it is {CONDITIONAL}."
    return table_of("texture-costs", caption, rows, columns, text=("of", "what"))


def _closed(finding: MendFinding | None) -> str:
    return DASH if finding is None or math.isnan(finding.closed) else percent(round(finding.closed, 3))


def _laws(study: TextureStudy) -> Table:
    """Look, variety and label laws of every arm of the section."""
    evidence = study.evidence
    arms = {
        study.arms.new_real: evidence.new_real,
        study.arms.raw: evidence.raw,
        study.arms.blotched: evidence.blotched,
        **evidence.mends,
    }
    names = {"look error": LOOK, "Vendi share": VENDI, "mask bias": LABELS[0], "random mask error": LABELS[1]}
    columns: Columns[str] = {
        "arm": lambda arm: arm,
        **{title: partial(_law, arms, law) for title, law in names.items()},
    }
    caption = (
        "Laws of the pools, means over runs. Blotched slices must have the look of raw and nothing else of it. A mend "
        "may bring the look nearer to 0 and change nothing else."
    )
    return table_of("texture-laws", caption, list(arms), columns, text=("arm",))


def _law(arms: Mapping[str, Laws], law: str, arm: str) -> str:
    return BY_COLUMN[law].text(arms[arm][law]) if law in arms[arm] else DASH


def _blocks(material: Material) -> Iterator[Block | None]:
    analysis, study = material.analysis, material.analysis.texture
    if study is None:
        return
    yield Bullets(texture_sentences(study, analysis.primary.metric, analysis.rules.margin))
    if study.costs or study.gains:
        yield _contrasts(analysis, study)
    yield _laws(study)
    if study.lost:
        yield Prose((f"Left out, since they have no score: {', '.join(study.lost)}.",))


def _methods(analysis: Analysis) -> tuple[str, ...]:
    if analysis.texture is None:
        return ()
    return (
        "Texture: costs and gains are contrasts of arms as under Contrasts, in two families. Texture is called harmful "
        "only if real slices that were given the look of the synthetic ones lose against the same slices as they are. "
        "A mend counts if it closes half of the shortfall, its gain is shown, its look is nearer to real, the Vendi "
        "share moves by no more than 0.2, and masks fit no worse.",
    )


TOPIC = Topic("texture", "Texture", _blocks, _methods)
