"""Tables of what each factor does, and of what the synthetic images' measures say about what they are good for."""

from medsweep.analysis.factors.factors import FactorEffect, FactorStudy, Term
from medsweep.analysis.questions.quality import QualityStudy
from medsweep.analysis.report.table import DASH, Row, Table, bare_p
from medsweep.analysis.study.analyse import Analysis
from medsweep.analysis.study.wording import number, percent, span


def effects(analysis: Analysis) -> Table:
    """Main effects and interactions at both levels."""
    found = analysis.factors
    level = percent(1 - analysis.plan.alpha)
    head = (
        "effect",
        "contrast",
        "n",
        "estimate",
        f"{level} CI",
        "p, Holm",
        f"{level} CI, runs random",
        "p, Holm, runs",
        "p, aligned ranks",
        "by",
    )
    if not isinstance(found, FactorStudy):
        return Table("factors", "", head, ())
    digits = analysis.primary.metric.digits + 1
    rows = tuple(_term(effect, term, digits) for effect in found.effects for term in effect.terms)
    caption = (
        f"What each factor does to {analysis.primary.metric.title} ({found.design}; {len(found.arms)} arms, averaged "
        f"over the other factors). p: F test of the effect over patients and with runs random, {found.family}; aligned "
        "rank transform of interactions. Exploratory."
    )
    return Table("factors", caption, head, rows, frozenset({0, 1, 9}))


def _term(effect: FactorEffect, term: Term, digits: int) -> Row:
    runs = term.runs
    return (
        effect.name,
        term.label,
        str(effect.n),
        number(term.patients.value, digits, sign=True),
        span(term.patients.low, term.patients.high, digits),
        bare_p(effect.p_holm),
        DASH if runs is None else span(runs.low, runs.high, digits),
        DASH if effect.runs is None else bare_p(effect.p_holm_runs),
        DASH if effect.art is None else bare_p(effect.art.p),
        effect.method,
    )


def dependence(analysis: Analysis) -> Table:
    """Line and bend of factors with three or more numeric levels."""
    found, level = analysis.factors, percent(1 - analysis.plan.alpha)
    head = ("factor", "n", "levels", "rise", f"{level} CI", "bend", f"{level} CI ", "course", "by")
    if not isinstance(found, FactorStudy):
        return Table("dependence", "", head, ())
    digits = analysis.primary.metric.digits + 1
    course = {one.factor: str(one.course) for one in found.dependence}
    rows = tuple(
        (
            one.factor,
            str(one.n),
            ", ".join(f"{value:g}" for value in one.values),
            *_estimate(one.rise, digits),
            *_estimate(one.bend, digits),
            course.get(one.factor, DASH),
            one.method,
        )
        for one in found.ordered
    )
    caption = (
        "Factors with three or more numeric levels, the others averaged out: rise of the fitted line from the lowest "
        "to the highest level, and how far the ends of the fitted parabola lie above its middle (negative: up, then "
        "down); course by the steps shown at both levels, Holm."
    )
    return Table("dependence", caption, head, rows, frozenset({0, 2, 7, 8}))


def _estimate(term: Term | None, digits: int) -> Row:
    if term is None:
        return (DASH, DASH)
    return (
        number(term.patients.value, digits, sign=True),
        span(term.patients.low, term.patients.high, digits),
    )


def unshown(analysis: Analysis) -> tuple[str, ...]:
    """Sentences on arms and effects that the study of factors leaves out, and on effects it cannot tell apart."""
    found = analysis.factors
    if not isinstance(found, FactorStudy):
        return (f"No study of factors: {found.reason}.",)
    arms = [f"{one.name} ({one.reason})" for one in found.left_out]
    effects = [f"{one.name} ({one.reason})" for one in found.not_estimable]
    told = []
    if arms:
        told.append(f"No cells of the factors: {'; '.join(arms)}.")
    if effects:
        told.append(f"Not to be told from these arms: {'; '.join(effects)}.")
    told += [f"Told apart by no arm: {' = '.join(one)}." for one in found.aliases]
    return tuple(told)


def quality(study: QualityStudy | None) -> Table:
    """Every measure of pools against benefit."""
    head = ("measure", "better", "generators", "rho", "CI", "p", "p, Holm", "bend", "CI ", "rho, matched", "as meant")
    if study is None:
        return Table("quality", "", head, ())
    rows = tuple(
        (
            one.metric.replace("_", " "),
            one.better,
            str(one.n),
            number(one.rho, 2, sign=True),
            f"{number(one.low, 2, sign=True)} to {number(one.high, 2, sign=True)}",
            bare_p(one.p),
            bare_p(one.p_holm),
            number(one.bend, 2, sign=True),
            f"{number(one.bend_low, 2, sign=True)} to {number(one.bend_high, 2, sign=True)}",
            number(one.rho_matched, 2, sign=True),
            {True: "yes", False: "no", None: DASH}[one.as_meant],
        )
        for one in study.metrics
    )
    caption = (
        "Quality against utility: Spearman's rho of each measure of the pools with the benefit of the arms that draw "
        f"on them, over generators, with {percent(study.level)} bootstrap interval; bend: correlation with the squared "
        "rank, negative where middling values are best; matched: inside fold and seed. "
    )
    caption += f"{study.note[:1].upper()}{study.note[1:]}"
    return Table("quality", caption, head, rows, frozenset({0, 1, 10}))


def unjudged(study: QualityStudy | None) -> tuple[str, ...]:
    """One sentence on the measures that so few generators cannot judge, reason by reason."""
    by_reason: dict[str, list[str]] = {}
    for one in study.not_judged if study is not None else ():
        by_reason.setdefault(one.reason, []).append(one.name.replace("_", " "))
    return tuple(
        f"Quality against utility, not judged: {', '.join(names)} ({why.replace('_', ' ')})."
        for why, names in by_reason.items()
    )


def comparisons(study: QualityStudy | None) -> Table:
    """Which of two measures goes further with benefit."""
    head = ("measure", "against", "generators", "difference in abs(rho)", "CI")
    found = () if study is None else study.comparisons
    rows = tuple(
        (
            one.first.replace("_", " "),
            one.second.replace("_", " "),
            str(one.n),
            number(one.difference, 2, sign=True),
            f"{number(one.low, 2, sign=True)} to {number(one.high, 2, sign=True)}",
        )
        for one in found
    )
    caption = "Measures compared: strength of the first's association with benefit less that of the second, bootstrap."
    return Table("quality-comparisons", caption, head, rows, frozenset({0, 1}))
