"""What each factor does: effects and interactions, and the course along numeric levels."""

from collections.abc import Iterator

from medsweep.analysis.factors.dependence import FactorTrend
from medsweep.analysis.factors.effects import FactorEffect, FactorStudy, Term
from medsweep.analysis.figures.factors import draw_dependence, draw_factors
from medsweep.analysis.report.document import Block, Bullets, Figure
from medsweep.analysis.report.table import DASH, Columns, Table, bare_p, interval, table_of
from medsweep.analysis.report.topic import Material, Topic
from medsweep.analysis.study.analyse import Analysis
from medsweep.analysis.study.wording import number, percent


def effects(analysis: Analysis, study: FactorStudy) -> Table:
    """Main effects and interactions at both levels."""
    digits, level = analysis.primary.metric.digits + 1, percent(1 - analysis.rules.alpha)
    told = " Effects among the contrasts have their test over runs there." if analysis.rules.kind == "factorial" else ""
    caption = (
        f"What each factor does to {analysis.primary.metric.title} ({study.design}; {len(study.arms)} arms, averaged "
        f"over the other factors). p: F test of the effect over patients and with runs random, {study.family}. "
        f"Exploratory.{told}"
    )
    columns: Columns[tuple[FactorEffect, Term]] = {
        "effect": lambda row: row[0].name,
        "contrast": lambda row: row[1].label,
        "n": lambda row: str(row[0].n),
        "estimate": lambda row: number(row[1].patients.value, digits, sign=True),
        f"{level} CI, patients alone": lambda row: interval(row[1].patients, digits),
        "p, Holm": lambda row: bare_p(row[0].p_holm),
        f"{level} CI, runs random": lambda row: interval(row[1].runs, digits),
        "p, Holm, runs": lambda row: bare_p(row[0].p_holm_runs) if row[0].runs else DASH,
        "by": lambda row: row[0].method,
    }
    terms = [(effect, term) for effect in study.effects for term in effect.terms]
    return table_of("factors", caption, terms, columns, text=("contrast", "by"))


def dependence(analysis: Analysis, study: FactorStudy) -> Table:
    """Line and bend of factors with three or more numeric levels."""
    digits, level = analysis.primary.metric.digits + 1, percent(1 - analysis.rules.alpha)
    course = {trend.factor: str(trend.course) for trend in study.dependence}
    caption = (
        "Factors with three or more numeric levels, the others averaged out: rise of the fitted line from the lowest "
        "to the highest level, and how far the ends of the fitted parabola lie above its middle (negative: up, then "
        "down); course by the steps shown at both levels, Holm. Intervals are over patients alone, unadjusted."
    )
    columns: Columns[FactorTrend] = {
        "factor": lambda trend: trend.factor,
        "n": lambda trend: str(trend.n),
        "levels": lambda trend: ", ".join(f"{value:g}" for value in trend.values),
        "rise": lambda trend: number(trend.rise.patients.value, digits, sign=True),
        f"{level} CI": lambda trend: interval(trend.rise.patients, digits),
        "bend": lambda trend: number(trend.bend.patients.value, digits, sign=True) if trend.bend else DASH,
        f"{level} CI ": lambda trend: interval(trend.bend.patients if trend.bend else None, digits),
        "course": lambda trend: course.get(trend.factor, DASH),
        "by": lambda trend: trend.method,
    }
    return table_of("dependence", caption, study.ordered, columns, text=("levels", "course", "by"))


def unshown(analysis: Analysis) -> tuple[str, ...]:
    """Sentences on arms and effects that the study of factors leaves out, and on effects it cannot tell apart."""
    study = analysis.factors
    if not isinstance(study, FactorStudy):
        return (f"No study of factors: {study.reason}.",)
    arms = [f"{left.name} ({left.reason})" for left in study.left_out]
    effects = [f"{left.name} ({left.reason})" for left in study.not_estimable]
    sentences = []
    if arms:
        sentences.append(f"Arms that are no cell of the factors, so left out of their study: {'; '.join(arms)}.")
    if effects:
        sentences.append(f"Effects that these arms cannot show: {'; '.join(effects)}.")
    sentences += [f"Effects that no arm tells apart: {' = '.join(left)}." for left in study.aliases]
    return tuple(sentences)


def _picture(material: Material, study: FactorStudy) -> Figure:
    analysis = material.analysis
    metric, margin = analysis.primary.metric, analysis.rules.margin
    caption = (
        f"What the factors do to {analysis.primary.metric.title}: contrasts of levels, averaged over the other "
        f"factors. Black: patients alone, thin {percent(study.level)} CI, thick the interval that equivalence goes "
        "by; dashed: runs random; all unadjusted. Filled: every interval of the row leaves out 0; grey band: margin."
    )
    digits = analysis.primary.metric.digits + 1
    terms = [
        f"{effect.name} {t.label} {number(t.patients.value, digits, sign=True)}"
        for effect in study.effects
        for t in effect.terms
    ]
    alt = f"Effects of factors: {'; '.join(terms)}."
    return material.picture("factors", lambda stem: draw_factors(study, metric, margin, stem), caption, alt)


def _dependence_picture(material: Material, study: FactorStudy) -> Figure | None:
    if not study.dependence:
        return None
    metric, margin = material.analysis.primary.metric, material.analysis.rules.margin
    caption = (
        f"Mean {metric.title} along each numeric factor, the others averaged out, with "
        f"{percent(study.level)} CI over patients alone; dashed: runs random; neither adjusted; thick: steps shown at "
        "both levels, Holm."
    )
    courses = [f"{curve.factor}: {curve.course}" for curve in study.dependence]
    alt = f"Partial dependence on numeric factors. {'; '.join(courses)}."
    return material.picture("dependence", lambda stem: draw_dependence(study, metric, margin, stem), caption, alt)


def _methods(analysis: Analysis) -> tuple[str, ...]:
    study = analysis.factors
    if not isinstance(study, FactorStudy):
        return ()
    text = (
        f"Factors ({study.design}): main effects and two-factor interactions as contrasts of each patient's arm means, "
        f"F tests over patients and with runs random, over {study.family}; exploratory."
    )
    return (text,)


def _blocks(material: Material) -> Iterator[Block | None]:
    analysis, study = material.analysis, material.analysis.factors
    if isinstance(study, FactorStudy):
        yield _picture(material, study)
        yield effects(analysis, study)
        yield _dependence_picture(material, study)
        yield dependence(analysis, study)
    yield Bullets(unshown(analysis))


TOPIC = Topic("factors", "Factors", _blocks, _methods, folded=True)
