"""A page on several data sets: what each arm comes to over all of them, then the answer of each data set."""

from collections.abc import Sequence
from pathlib import Path

from medsweep.analysis.figures.meta import draw_meta
from medsweep.analysis.records import to_json
from medsweep.analysis.report.context import ReportContext
from medsweep.analysis.report.document import Bullets, Document, Figure, Prose, Section
from medsweep.analysis.report.page import Format, checked, write_document
from medsweep.analysis.report.provenance import reproduction_section
from medsweep.analysis.report.table import DASH, Row, Table, bare_p
from medsweep.analysis.report.topic import FOLDER, figure_of
from medsweep.analysis.stats.equivalence import Verdict
from medsweep.analysis.stats.omnibus import Omnibus
from medsweep.analysis.study.across import Across, ArmAcross, across_datasets
from medsweep.analysis.study.analyse import Analysis
from medsweep.analysis.study.wording import HEADLINE_NAMES, amount, number, p_text, percent, span

TRIALS = "The trials behind the numbers of a data set are listed on its own page."


def write_across(
    folder: Path, analyses: Sequence[Analysis], context: ReportContext, *, formats: Sequence[Format] = ("html",)
) -> Path:
    """Write across.html (.md, .tex), across.json, ``figures/`` and ``tables/`` into ``folder``; returns the first.

    Raises:
        UserError: the analyses do not combine, or a format is unknown.
    """
    checked(formats)
    found = across_datasets(analyses)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "across.json").write_text(to_json(found) + "\n", encoding="utf-8")
    return write_document(folder, _document(found, analyses, context, _figure(found, folder)), formats, "across")


def _document(found: Across, analyses: Sequence[Analysis], context: ReportContext, figure: Figure | None) -> Document:
    sections = [
        Section("answer", "Answer", (Bullets(_sentences(found)),)),
        Section("meta", "Differences over data sets", tuple(one for one in (figure, _effects(found)) if one)),
        Section("verdicts", "Verdicts in each data set", (_verdicts(found), _patients(analyses), Prose((TRIALS,)))),
        Section("consensus", "Consensus ranking", _ranks(found)),
        Section("methods", "Methods", (Prose((_methods(found),), "methods"),)),
        reproduction_section(context, "across.json"),
    ]
    return Document(
        title=f"{context.sweep}: {len(found.datasets)} data sets",
        question=context.question,
        headline=_headline(found),
        meta=" \N{MIDDLE DOT} ".join([", ".join(found.datasets), f"{len(found.arms) + 1} arms", context.created]),
        sections=tuple(sections),
        anchors={},
    )


def _figure(found: Across, folder: Path) -> Figure | None:
    metas = [one.meta for one in found.arms if one.meta is not None]
    if not metas:
        return None
    level = percent(1 - found.plan.alpha)
    caption = (
        f"Each arm over the data sets: difference in {found.metric.title} from {found.control} with {level} CI, "
        "square by weight; diamond: random-effects mean with Hartung-Knapp interval; dashed: prediction interval for "
        f"a new data set; grey band: margin of {found.plan.margin:g}."
    )
    told = [f"{one.label} {number(one.estimate.value, found.metric.digits, sign=True)}" for one in metas]
    drawn = draw_meta(metas, found.metric, found.plan.margin, folder / FOLDER / "meta")
    return figure_of("meta", drawn, caption, f"Forest plot over data sets, random-effects means: {'; '.join(told)}.")


def _headline(found: Across) -> str:
    judged = [one.meta for one in found.arms if one.meta is not None]
    toward = 1 if found.metric.higher_is_better else -1
    gains = [meta.label for meta in judged if min(toward * meta.estimate.low, toward * meta.estimate.high) > 0]
    losses = [meta.label for meta in judged if max(toward * meta.estimate.low, toward * meta.estimate.high) < 0]
    parts = [_named(gains, "gain on"), _named(losses, "lose to")]
    return (
        f"On average over {len(found.datasets)} data sets, of {len(judged)} arms {', '.join(parts)} {found.control} in "
        f"{found.metric.title} (intervals over data sets, unadjusted)."
    )


def _named(arms: Sequence[str], verb: str) -> str:
    text = f"{len(arms) or 'none'} {verb.replace('gain', 'gains').replace('lose', 'loses') if len(arms) < 2 else verb}"
    return f"{text} ({'; '.join(arms)})" if 0 < len(arms) <= HEADLINE_NAMES else text


def _sentences(found: Across) -> tuple[str, ...]:
    """One for each arm, and what so few data sets leave open."""
    notes = dict.fromkeys(one.meta.note for one in found.arms if one.meta is not None and one.meta.note)
    return (*(_sentence(one, found) for one in found.arms), *notes)


def _sentence(one: ArmAcross, found: Across) -> str:
    counts = {verdict: sum(mine == verdict for _, mine in one.verdicts) for verdict in Verdict}
    named = ", ".join(f"{verdict} in {count}" for verdict, count in counts.items() if count)
    if one.meta is None:
        return f"{one.arm}: {named}; not combined."
    meta, digits = one.meta, found.metric.digits + 1
    value = amount(number(meta.estimate.value, digits, sign=True), found.metric)
    return (
        f"{one.arm}: {value} ({percent(meta.level)} CI {span(meta.estimate.low, meta.estimate.high, digits)}) over "
        f"{meta.k} data sets, n = {meta.n} patients; {named}."
    )


def _effects(found: Across) -> Table:
    level, digits = percent(1 - found.plan.alpha), found.metric.digits + 1
    head = ("arm", "data sets", "n", "difference", f"{level} CI", "p", "I2", "tau", "Q, p", f"{level} prediction")
    rows = []
    for one in found.arms:
        if one.meta is None:
            rows.append((one.arm, str(len(one.verdicts)), *[DASH] * 8))
            continue
        meta = one.meta
        rows.append(
            (
                one.arm,
                str(meta.k),
                str(meta.n),
                number(meta.estimate.value, digits, sign=True),
                span(meta.estimate.low, meta.estimate.high, digits),
                bare_p(meta.estimate.p),
                f"{100 * meta.i2:.0f}%",
                number(meta.tau2**0.5, digits),
                bare_p(meta.q_p),
                span(meta.prediction_low, meta.prediction_high, digits),
            )
        )
    caption = (
        f"Random-effects mean of each arm's difference in {found.metric.title} from {found.control}; I2: share of the "
        "variance that is between data sets; tau: its SD; Q: test of homogeneity; prediction: for a new data set."
    )
    return Table("meta", caption, head, tuple(rows))


def _verdicts(found: Across) -> Table:
    def row(one: ArmAcross) -> Row:
        """One arm."""
        mine = {name: str(verdict) for name, verdict in one.verdicts}
        return (one.arm, *(mine.get(name, DASH) for name in found.datasets))

    head = ("arm", *found.datasets)
    caption = f"Verdict on each arm against {found.control}, data set by data set."
    return Table("dataset-verdicts", caption, head, tuple(map(row, found.arms)), frozenset(range(len(head))))


def _patients(analyses: Sequence[Analysis]) -> Table:
    rows = tuple(
        (one.dataset, str(one.primary.n), str(len(one.folds)), str(one.seeds), one.headline) for one in analyses
    )
    head = ("data set", "n", "folds", "seeds", "answer")
    return Table("datasets", "The data sets and the answer of each.", head, rows, frozenset({0, 4}))


def _ranks(found: Across) -> tuple[Table | Prose, ...]:
    ranks = found.ranks
    if ranks is None:
        return ()
    rows = tuple(
        (label, number(mean, 2), str(best))
        for label, mean, best in zip(ranks.labels, ranks.mean_ranks, ranks.best, strict=True)
    )
    caption = (
        "Arms ranked inside each data set by mean difference, 1 is best: mean rank, and data sets in which it leads."
    )
    told = f"{ranks.note[:1].upper()}{ranks.note[1:]}."
    if isinstance(ranks.omnibus, Omnibus):
        told += f" Friedman's test over data sets: {p_text(ranks.omnibus.p)}."
    if ranks.left_out:
        told += f" Not ranked, since some data set lacks them: {'; '.join(ranks.left_out)}."
    return (Table("consensus", caption, ("arm", "mean rank", "leads"), rows), Prose((told,)))


def _methods(found: Across) -> str:
    level = "with the runs taken as random" if found.over_runs else "over patients, conditional on the trained models"
    return (
        f"Across data sets: random-effects meta-analysis of mean differences ({level}), between-set variance after "
        "Paule and Mandel, intervals after Hartung and Knapp with a variance never below that of one common effect, "
        "prediction intervals on k \N{MINUS SIGN} 2 degrees of freedom; data sets are the units. Unadjusted over "
        "arms. Ranks over data sets are an exploratory extra."
    )
