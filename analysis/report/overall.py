"""All arms at once: omnibus tests, all pairs, ranks, and how far each hangs on test and pool."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial

from medsweep.analysis.figures.critical_difference import draw_critical_difference
from medsweep.analysis.figures.pairwise import draw_pairwise
from medsweep.analysis.figures.rank_map import draw_rank_map
from medsweep.analysis.report.document import Block, Figure, Prose
from medsweep.analysis.report.table import DASH, Columns, Row, Table, bare_p, interval, table_of
from medsweep.analysis.report.topic import Material, Topic
from medsweep.analysis.stats.mean_ranks import Nemenyi
from medsweep.analysis.stats.omnibus import NoOmnibus, Omnibus
from medsweep.analysis.stats.pairwise import PairComparison
from medsweep.analysis.stats.rank_stability import RankStability
from medsweep.analysis.study.analyse import Analysis
from medsweep.analysis.study.metric_study import Sensitivity
from medsweep.analysis.study.wording import NOT_COMPUTABLE, number, p_text, percent

FOLDED_FROM = 16
"""Rows from which a table of pairs starts closed."""


def omnibus(analysis: Analysis) -> Table:
    """Friedman's test, and the same question with the runs random."""
    test = analysis.primary.omnibus
    rows: list[Row] = []
    if isinstance(test, Omnibus):
        f = f"F({test.df1}, {test.df2}) = {number(test.f, 2)}"
        chi2 = f"chi2({test.df1}) = {number(test.chi2, 2)}"
        tied = f"{test.ties} patients with ties" if test.ties else ""
        note = "; ".join(filter(None, (tied, test.note)))
        w = f"Kendall's W = {number(test.kendall_w, 2)}"
        rows.append(("Friedman, Iman-Davenport F (main)", str(test.n), f, bare_p(test.p), note))
        rows.append(("Friedman, chi2 with ties", str(test.n), chi2, bare_p(test.p_chi2), w))
    runs = analysis.sensitivity.runs
    if not isinstance(runs, NoOmnibus):
        test_over_runs = runs.test
        f = f"F({number(test_over_runs.df1, 1)}, {number(test_over_runs.df2, 1)}) = {number(test_over_runs.f, 2)}"
        epsilon = "" if test_over_runs.epsilon == 1 else f"Huynh-Feldt epsilon {number(test_over_runs.epsilon, 2)}"
        note = "; ".join(filter(None, (epsilon, runs.note)))
        rows.append((f"runs random: {test_over_runs.kind}", str(runs.n), f, bare_p(test_over_runs.p), note))
    elif isinstance(test, Omnibus):
        rows.append(("runs random", DASH, DASH, DASH, runs.reason))
    caption = (
        f"Do the {len(analysis.arms)} arms differ at all? The main test, and others beside it; patients as "
        "blocks but for the last."
    )
    return Table("omnibus", caption, ("test", "n", "statistic", "p", "note"), tuple(rows), frozenset({0, 2, 4}))


def nemenyi(analysis: Analysis) -> Table | None:
    """p of all pairs, lower triangle."""
    pairs = analysis.primary.nemenyi
    if pairs is None:
        return None
    caption = (
        "Nemenyi's test, p of all pairs, as papers print it. The verdict on a pair depends on the other arms in the "
        "table (Benavoli, Corani and Mangili 2016): read it beside the comparisons with the control."
    )
    columns = range(len(pairs.arms) - 1)
    head = ("arm", "number", *(str(j + 1) for j in columns))
    rows = tuple(
        (arm, str(i + 1), *(bare_p(pairs.p[i][j]) if j < i else "" for j in columns))
        for i, arm in enumerate(pairs.arms)
    )
    return Table("nemenyi", caption, head, rows, folded=len(rows) >= FOLDED_FROM)


def all_pairs(analysis: Analysis) -> Table | None:
    """Each pair with its difference and every p that was asked for."""
    if len(analysis.arms) < 3:
        return None
    pairwise, extra = analysis.sensitivity.pairwise, analysis.sensitivity.on_request
    ranked, digits = analysis.primary.nemenyi, analysis.primary.metric.digits + 1
    place = {arm: i for i, arm in enumerate(pairwise.arms)}

    def from_matrix(p: Sequence[Sequence[float]]) -> Callable[[PairComparison], str]:
        """The cell of a pair in a matrix of p over all arms."""
        return lambda pair: bare_p(p[place[pair.first]][place[pair.second]])

    caption = (
        f"All pairs, n = {pairwise.n} patients: {pairwise.method}. A win is a patient for whom the first arm is better."
    )
    notes = [
        f"{asked.method}: {asked.test}, {asked.correction}{'; ' if asked.note else ''}{asked.note}" for asked in extra
    ]
    caption += f" On request: {'. '.join(notes)}." if notes else ""
    caption += " Exploratory beside the comparisons with the control."
    columns: dict[str, Callable[[PairComparison], str]] = {
        "arm": lambda pair: pair.first,
        "against": lambda pair: pair.second,
        "difference": lambda pair: number(pair.mean.value, digits, sign=True),
        f"{percent(pairwise.level)} CI, patients alone": lambda pair: interval(pair.mean, digits),
        "win/tie/loss": lambda pair: f"{pair.wins}/{pair.ties}/{pair.losses}",
        "p": lambda pair: bare_p(pair.p),
        "p, Holm": lambda pair: bare_p(pair.p_holm),
    }
    if ranked is not None:
        columns["p, Nemenyi"] = from_matrix(ranked.p)
    columns |= {f"p, {asked.method}": from_matrix(asked.p) for asked in extra}
    table = table_of("pairs", caption, pairwise.pairs, columns, text=("against",))
    return replace(table, folded=len(table.rows) >= FOLDED_FROM)


def ranks(analysis: Analysis) -> Table | None:
    """Mean ranks, their groups, and each against the control's."""
    test, pairs, dunn = analysis.primary.omnibus, analysis.primary.nemenyi, analysis.sensitivity.bonferroni_dunn
    if not isinstance(test, Omnibus) or pairs is None or dunn is None:
        return None
    letters, place = _letters(test, pairs), {arm: i for i, arm in enumerate(dunn.arms)}

    def against_control(cell: Callable[[int], str]) -> Callable[[tuple[float, str]], str]:
        """A dash for the control itself."""
        return lambda row: cell(place[row[1]]) if row[1] in place else DASH

    caption = (
        f"Mean ranks over n = {test.n} patients, 1 is best. Arms that share a letter are not told apart by Nemenyi's "
        f"test (critical difference {number(pairs.critical_difference, 2)}). z and p: mean rank against the control's, "
        f"Bonferroni-Dunn (critical difference {number(dunn.critical_difference, 2)}); positive z ranks better."
    )
    columns: Columns[tuple[float, str]] = {
        "arm": lambda row: row[1],
        "mean rank": lambda row: number(row[0], 2),
        "groups": lambda row: letters[row[1]],
        "z": against_control(lambda i: number(dunn.z[i], 2, sign=True)),
        "p": against_control(lambda i: bare_p(dunn.p[i])),
        "p, Bonferroni": against_control(lambda i: bare_p(dunn.p_bonferroni[i])),
        "p, Holm": against_control(lambda i: bare_p(dunn.p_holm[i])),
    }
    order = sorted(zip(test.mean_ranks, test.arms, strict=True), key=lambda row: row[0])
    return table_of("ranks", caption, order, columns, text=("groups",))


def _letters(test: Omnibus, pairs: Nemenyi) -> dict[str, str]:
    """Compact letters: one for each group of arms that no pair separates, and one for each arm that stands alone."""
    grouped = {arm for clique in pairs.cliques for arm in clique}
    rank = dict(zip(test.arms, test.mean_ranks, strict=True))
    groups = [*pairs.cliques, *((arm,) for arm in test.arms if arm not in grouped)]
    groups.sort(key=lambda arms: (min(rank[arm] for arm in arms), max(rank[arm] for arm in arms)))
    names = [chr(ord("a") + i % 26) * (i // 26 + 1) for i in range(len(groups))]
    return {arm: " ".join(name for name, arms in zip(names, groups, strict=True) if arm in arms) for arm in test.arms}


def stability(analysis: Analysis) -> Table:
    """How firm the ranking of means is."""
    ranking = analysis.ranking
    caption = (
        f"How firm the ranking is when the n = {ranking.n} patients are resampled ({ranking.resamples} times): rank of "
        f"the mean, its {percent(ranking.level)} interval, share of resamples in which the arm leads; and the mean of "
        "its ranks inside patients, the other way to rank."
    )
    if number(ranking.tau, 2) != NOT_COMPUTABLE:
        caption += (
            f" Kendall's tau of a resample's ranking with the full one: {number(ranking.tau, 2)} "
            f"({number(ranking.tau_low, 2)} to {number(ranking.tau_high, 2)}); of both ways to rank: "
            f"{number(ranking.tau_aggregation, 2)}."
        )
    columns: Columns[RankStability] = {
        "arm": lambda arm: arm.arm,
        "rank of mean": lambda arm: number(arm.rank, 1),
        "interval": lambda arm: f"{number(arm.low, 1)} to {number(arm.high, 1)}",
        "leads": lambda arm: f"{100 * arm.share_first:.0f}%",
        "mean rank": lambda arm: number(arm.mean_rank, 2),
    }
    return table_of("stability", caption, ranking.arms, columns)


def flips(analysis: Analysis) -> Table | None:
    """Verdicts of Nemenyi's test that another arm decides."""
    study = analysis.sensitivity.leave_one_out
    if study is None:
        return None
    caption = (
        f"Verdicts of Nemenyi's test that hang on another arm: {len(study.flips)} of {study.checked} change sides of "
        f"{p_text(study.alpha, 'alpha')} when one arm is left out."
    )
    head = ("arm", "against", "without", "p, all arms", "p without it")
    rows = tuple(
        (flip.first, flip.second, flip.left_out, bare_p(flip.p_all), bare_p(flip.p_without)) for flip in study.flips
    )
    return Table("flips", caption, head, rows, frozenset({0, 1, 2}), folded=len(rows) >= FOLDED_FROM)


def _ranks_picture(material: Material) -> Figure | None:
    test, pairs = material.analysis.primary.omnibus, material.analysis.primary.nemenyi
    dunn = material.analysis.sensitivity.bonferroni_dunn
    if not isinstance(test, Omnibus) or pairs is None or dunn is None:
        return None
    caption = (
        "Critical-difference diagram: mean rank over patients, 1 is best. A bar, or its absence, says nothing "
        "about the size of a difference; see the forest plot."
    )
    order = sorted(zip(test.mean_ranks, test.arms, strict=True))
    ranks = ", ".join(f"{arm} {number(rank, 2)}" for rank, arm in order)
    draw = partial(draw_critical_difference, test, pairs, dunn)
    return material.picture("ranks", draw, caption, f"Mean ranks from best to worst: {ranks}.")


def _pairs_picture(material: Material) -> Figure | None:
    analysis = material.analysis
    if len(analysis.arms) < 3:
        return None
    pairwise, metric = analysis.sensitivity.pairwise, analysis.primary.metric
    caption = (
        f"All pairs: mean difference in {metric.title} (row minus column), win/tie/loss over patients, and "
        f"Holm-adjusted p; bold where it is below {pairwise.alpha:g}. Colour repeats the difference."
    )
    shown = [pair for pair in pairwise.pairs if pair.p_holm < pairwise.alpha]
    differences = "; ".join(
        f"{pair.first} against {pair.second} {number(pair.mean.value, metric.digits, sign=True)}" for pair in shown
    )
    alt = f"Matrix of {len(pairwise.pairs)} pairs of arms, {len(shown)} of which differ: {differences or 'none'}."
    draw = partial(draw_pairwise, pairwise, metric, control=analysis.control)
    return material.picture("pairwise", draw, caption, alt)


def _rank_map(material: Material) -> Figure | None:
    analysis = material.analysis
    if len(analysis.arms) < 3:
        return None
    ranking = analysis.ranking
    caption = (
        f"Ranks when patients are resampled: share of {ranking.resamples} resamples in which the arm has the rank; a "
        "frame marks the rank on all patients."
    )
    leads = ", ".join(f"{arm.arm} {100 * arm.share_first:.0f}%" for arm in ranking.arms)
    alt = f"Heat map of bootstrap ranks; share of resamples in which the arm leads: {leads}."
    return material.picture("rankmap", partial(draw_rank_map, ranking, control=analysis.control), caption, alt)


def _methods(analysis: Analysis) -> tuple[str, ...]:
    test, pairs = analysis.primary.omnibus, analysis.primary.nemenyi
    if isinstance(test, NoOmnibus):
        return (f"No omnibus test: {test.reason}.",)
    note = f" ({test.note})" if test.note else ""
    text = (
        f"All arms: Friedman's test with ties, chi2({test.df1}) = {number(test.chi2, 2)}, {p_text(test.p_chi2)}; "
        f"Iman-Davenport F({test.df1}, {test.df2}) = {number(test.f, 2)}, {p_text(test.p)}{note}; Kendall's W = "
        f"{number(test.kendall_w, 2)}; n = {test.n} blocks (patients), k = {test.k}. "
        f"{_sensitivity(analysis.sensitivity)}"
    )
    if pairs is None:
        return (text,)
    extra = "".join(
        f"; {asked.test} with {asked.correction}{f' ({asked.note})' if asked.note else ''}"
        for asked in analysis.sensitivity.on_request
    )
    text += (
        f" All pairs: Nemenyi, critical difference {number(pairs.critical_difference, 2)} mean ranks at alpha = "
        f"{pairs.alpha:g}; Wilcoxon with Holm over all pairs{extra}; secondary to the comparisons with the control."
    )
    return (text,)


def _sensitivity(other: Sensitivity) -> str:
    if isinstance(other.runs, NoOmnibus):
        return ""
    return f"Sensitivity: runs random, {other.runs.test.kind} {p_text(other.runs.test.p)}."


def _blocks(material: Material) -> Iterator[Block | None]:
    analysis, test = material.analysis, material.analysis.primary.omnibus
    if isinstance(test, NoOmnibus):
        yield Prose((f"No omnibus test: {test.reason}.",))
    yield omnibus(analysis)
    yield _ranks_picture(material)
    yield ranks(analysis)
    yield nemenyi(analysis)
    yield _pairs_picture(material)
    yield all_pairs(analysis)
    yield flips(analysis)


ALL_ARMS = Topic("all-arms", "All arms and all pairs", _blocks, _methods, folded=True)
STABILITY = Topic(
    "stability",
    "Stability of the ranking",
    lambda material: (_rank_map(material), stability(material.analysis)),
    folded=True,
)
