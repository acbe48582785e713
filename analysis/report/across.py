"""A page on several data sets: what each arm comes to over all of them, then the answer of each data set."""

from collections.abc import Callable, Sequence
from pathlib import Path

from medsweep.analysis.figures.forest import draw_meta
from medsweep.analysis.records import to_json
from medsweep.analysis.report.document import Bullets, Document, Figure, Prose, Section
from medsweep.analysis.report.page import Format, checked, write_document
from medsweep.analysis.report.sections import reproduction_section
from medsweep.analysis.report.table import DASH, Columns, Table, bare_p, interval, table_of
from medsweep.analysis.report.topic import FOLDER, ReportContext, figure_of
from medsweep.analysis.stats.equivalence import Verdict
from medsweep.analysis.stats.meta_analysis import Meta
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
    across = across_datasets(analyses)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "across.json").write_text(to_json(across) + "\n", encoding="utf-8")
    return write_document(folder, _document(across, analyses, context, _figure(across, folder)), formats, "across")


def _document(across: Across, analyses: Sequence[Analysis], context: ReportContext, figure: Figure | None) -> Document:
    sections = [
        Section("answer", "Answer", (Bullets(_sentences(across)),)),
        Section("meta", "Differences over data sets", tuple(block for block in (figure, _effects(across)) if block)),
        Section("verdicts", "Verdicts in each data set", (_verdicts(across), _patients(analyses), Prose((TRIALS,)))),
        Section("consensus", "Consensus ranking", _ranks(across)),
        Section("methods", "Methods", (Prose((_methods(across),), "methods"),)),
        reproduction_section(context, "across.json"),
    ]
    return Document(
        title=f"{context.sweep}: {len(across.datasets)} data sets",
        question=context.question,
        headline=_headline(across),
        meta=" \N{MIDDLE DOT} ".join([", ".join(across.datasets), f"{len(across.arms) + 1} arms", context.created]),
        sections=tuple(sections),
        anchors={},
    )


def _figure(across: Across, folder: Path) -> Figure | None:
    metas = [meta.meta for meta in across.arms if meta.meta is not None]
    if not metas:
        return None
    level = percent(1 - across.rules.alpha)
    caption = (
        f"Each arm over the data sets: difference in {across.metric.title} from {across.control} with {level} CI, "
        "square by weight; diamond: random-effects mean with Hartung-Knapp interval; dashed: prediction interval for "
        f"a new data set; grey band: margin of {across.rules.margin:g}."
    )
    means = [f"{meta.label} {number(meta.estimate.value, across.metric.digits, sign=True)}" for meta in metas]
    drawn = draw_meta(metas, across.metric, across.rules.margin, folder / FOLDER / "meta")
    return figure_of("meta", drawn, caption, f"Forest plot over data sets, random-effects means: {'; '.join(means)}.")


def _headline(across: Across) -> str:
    toward = 1 if across.metric.higher_is_better else -1
    judged = [arm.meta for arm in across.arms if arm.meta is not None]
    ends = [(meta.label, sorted((toward * meta.estimate.low, toward * meta.estimate.high))) for meta in judged]
    gains = [label for label, (worst, _) in ends if worst > 0]
    losses = [label for label, (_, best) in ends if best < 0]
    return (
        f"On average over {len(across.datasets)} data sets, of {len(judged)} arms {_named(gains, 'gain on')}, "
        f"{_named(losses, 'lose to')} {across.control} in {across.metric.title} (intervals over data sets, unadjusted)."
    )


def _named(arms: Sequence[str], verb: str) -> str:
    text = f"{len(arms) or 'none'} {verb.replace('gain', 'gains').replace('lose', 'loses') if len(arms) < 2 else verb}"
    return f"{text} ({'; '.join(arms)})" if 0 < len(arms) <= HEADLINE_NAMES else text


def _sentences(across: Across) -> tuple[str, ...]:
    """One for each arm, and what so few data sets leave open."""
    notes = dict.fromkeys(arm.meta.note for arm in across.arms if arm.meta is not None and arm.meta.note)
    return (*(_sentence(arm, across) for arm in across.arms), *notes)


def _sentence(arm: ArmAcross, across: Across) -> str:
    counts = {verdict: sum(reached == verdict for _, reached in arm.verdicts) for verdict in Verdict}
    named = ", ".join(f"{verdict} in {count}" for verdict, count in counts.items() if count)
    if arm.meta is None:
        return f"{arm.arm}: {named}; not combined."
    meta, digits = arm.meta, across.metric.digits + 1
    value = amount(number(meta.estimate.value, digits, sign=True), across.metric)
    return (
        f"{arm.arm}: {value} ({percent(meta.level)} CI {span(meta.estimate.low, meta.estimate.high, digits)}) over "
        f"{meta.k} data sets, n = {meta.n} patients; {named}."
    )


def _effects(across: Across) -> Table:
    level, digits = percent(1 - across.rules.alpha), across.metric.digits + 1

    def combined(cell: Callable[[Meta], str]) -> Callable[[ArmAcross], str]:
        """A dash for an arm that was not combined."""
        return lambda arm: DASH if arm.meta is None else cell(arm.meta)

    caption = (
        f"Random-effects mean of each arm's difference in {across.metric.title} from {across.control}; I2: share of "
        "the variance that is between data sets; tau: its SD; Q: test of homogeneity; prediction: for a new data set."
    )
    columns: Columns[ArmAcross] = {
        "arm": lambda arm: arm.arm,
        "data sets": lambda arm: str(arm.meta.k if arm.meta else len(arm.verdicts)),
        "n": combined(lambda meta: str(meta.n)),
        "difference": combined(lambda meta: number(meta.estimate.value, digits, sign=True)),
        f"{level} CI": combined(lambda meta: interval(meta.estimate, digits)),
        "p": combined(lambda meta: bare_p(meta.estimate.p)),
        "I2": combined(lambda meta: f"{100 * meta.i2:.0f}%"),
        "tau": combined(lambda meta: number(meta.tau2**0.5, digits)),
        "Q, p": combined(lambda meta: bare_p(meta.q_p)),
        f"{level} prediction": combined(lambda meta: span(meta.prediction_low, meta.prediction_high, digits)),
    }
    return table_of("meta", caption, across.arms, columns)


def _verdicts(across: Across) -> Table:
    rows = tuple(
        (arm.arm, *(str(dict(arm.verdicts).get(name, DASH)) for name in across.datasets)) for arm in across.arms
    )
    head = ("arm", *across.datasets)
    caption = f"Verdict on each arm against {across.control}, data set by data set."
    return Table("dataset-verdicts", caption, head, rows, frozenset(range(len(head))))


def _patients(analyses: Sequence[Analysis]) -> Table:
    rows = tuple(
        (analysis.dataset, str(analysis.primary.n), str(len(analysis.folds)), str(analysis.seeds), analysis.headline)
        for analysis in analyses
    )
    head = ("data set", "n", "folds", "seeds", "answer")
    return Table("datasets", "The data sets and the answer of each.", head, rows, frozenset({0, 4}))


def _ranks(across: Across) -> tuple[Table | Prose, ...]:
    ranks = across.ranks
    if ranks is None:
        return ()
    rows = tuple(
        (label, number(mean, 2), str(best))
        for label, mean, best in zip(ranks.labels, ranks.mean_ranks, ranks.best, strict=True)
    )
    caption = (
        "Arms ranked inside each data set by mean difference, 1 is best: mean rank, and data sets in which it leads."
    )
    text = f"{ranks.note[:1].upper()}{ranks.note[1:]}."
    if isinstance(ranks.omnibus, Omnibus):
        text += f" Friedman's test over data sets: {p_text(ranks.omnibus.p)}."
    if ranks.left_out:
        text += f" Not ranked, since some data set lacks them: {'; '.join(ranks.left_out)}."
    return (Table("consensus", caption, ("arm", "mean rank", "leads"), rows), Prose((text,)))


def _methods(across: Across) -> str:
    level = "with the runs taken as random" if across.over_runs else "over patients, conditional on the trained models"
    return (
        f"Across data sets: random-effects meta-analysis of mean differences ({level}), between-set variance after "
        "Paule and Mandel, intervals after Hartung and Knapp with a variance never below that of one common effect, "
        "prediction intervals on k \N{MINUS SIGN} 2 degrees of freedom; data sets are the units. Unadjusted over "
        "arms. Ranks over data sets are an exploratory extra."
    )
