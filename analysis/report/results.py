"""Each arm against the control: differences at both levels, null results, and the other metrics."""

from collections.abc import Iterator, Sequence
from functools import partial

from medsweep.analysis.figures.forest import draw_forest
from medsweep.analysis.figures.paired import draw_paired
from medsweep.analysis.report.document import Block, Figure
from medsweep.analysis.report.table import Columns, Table, bare_p, folded, interval, table_of
from medsweep.analysis.report.topic import Material, Topic
from medsweep.analysis.stats.effects import RESAMPLES, Effect
from medsweep.analysis.stats.equivalence import Verdict
from medsweep.analysis.stats.omnibus import Omnibus
from medsweep.analysis.stats.wilcoxon import Wilcoxon
from medsweep.analysis.study.analyse import Analysis
from medsweep.analysis.study.answers import Answer
from medsweep.analysis.study.metric_study import Description, MetricStudy
from medsweep.analysis.study.wording import CONDITIONAL, counted, number, percent, span


def effects(analysis: Analysis) -> Table:
    """The primary family with its verdicts."""
    metric, level = analysis.primary.metric, percent(1 - analysis.rules.alpha)
    digits = metric.digits + 1
    caption = (
        f"Each arm against {analysis.control}: {metric.title}, arm minus control. The interval holds for all arms at "
        "once, and the verdict rests on it. The last p is for these trained networks: patients alone, two-sided "
        "Wilcoxon signed-rank, Holm."
    )
    columns: Columns[Answer] = {
        "arm": lambda one: one.arm,
        "n": lambda one: str(one.effect.n),
        "difference": lambda one: number(one.estimate.value, digits, sign=True),
        f"{level} CI, all arms": lambda one: interval(one.estimate, digits),
        "p, adjusted": lambda one: bare_p(one.estimate.p),
        "verdict": lambda one: str(one.verdict),
        "p, patients": lambda one: bare_p(one.wilcoxon.p_holm),
    }
    return table_of("effects", caption, analysis.answers, columns, text=("verdict",))


def robust(analysis: Analysis) -> Table:
    """The same differences by estimates that lean less on the normal distribution."""
    digits, level = analysis.primary.metric.digits + 1, percent(1 - analysis.rules.alpha)
    caption = (
        "The same differences by counts, ranks and bootstrap, patients alone, unadjusted. A win is a patient for whom "
        "the arm is better, P(better) the share of wins with ties as halves; the rank-biserial correlation runs from "
        "\N{MINUS SIGN}1 to 1 and is positive where the arm is better."
    )
    columns: Columns[Effect] = {
        "arm": lambda effect: effect.arm,
        "win/tie/loss": lambda effect: f"{effect.wins}/{effect.ties}/{effect.losses}",
        "P(better)": lambda effect: number(effect.p_better, 2),
        f"{level} CI": lambda effect: f"{number(effect.p_better_ci.low, 2)} to {number(effect.p_better_ci.high, 2)}",
        "rank-biserial": lambda effect: number(effect.rank_biserial, 2, sign=True),
        f"{level} CI of mean, BCa": lambda effect: interval(effect.bca, digits),
        "Hodges-Lehmann": lambda effect: number(effect.hodges_lehmann, digits, sign=True),
        "its CI": lambda effect: interval(effect.hodges_lehmann_ci, digits),
        "coverage": lambda effect: percent(round(effect.hodges_lehmann_ci.coverage, 3)),
    }
    return table_of("robust", caption, analysis.primary.effects, columns)


def null(analysis: Analysis) -> Table:
    """What speaks for no difference that matters."""
    metric, margin = analysis.primary.metric, analysis.rules.margin
    digits, narrow = metric.digits + 1, percent(1 - 2 * analysis.rules.alpha)
    whose = "each arm by itself" if analysis.rules.equivalence == "each" else "all arms at once"
    caption = (
        f"Null results at the margin of {margin:g}. Equivalence: the {narrow} CI of the difference, for {whose}, lies "
        "inside the margin. Not inferior: its worse end does, so that a better arm passes as well."
    )

    def not_inferior(answer: Answer) -> str:
        low, high = answer.narrow
        return "shown" if (low > -margin if metric.higher_is_better else high < margin) else "not shown"

    columns: Columns[Answer] = {
        "arm": lambda one: one.arm,
        "n": lambda one: str(one.effect.n),
        f"{narrow} CI": lambda one: span(*one.narrow, digits),
        "inside": lambda one: "yes" if one.inside else "no",
        "not inferior": not_inferior,
    }
    return table_of("null", caption, analysis.answers, columns, text=("inside", "not inferior"))


def exploratory(study: MetricStudy) -> Table:
    """A secondary metric against the control; no verdict."""
    digits, level = study.metric.digits, percent(study.effects[0].mean.level)
    described = {arm.arm: arm for arm in study.descriptions}
    better = "higher" if study.metric.higher_is_better else "lower"
    caption = (
        f"Exploratory: {study.metric.in_unit}, {better} is better. Means and differences are over the patients "
        "found (n found); medians, wins and ranks count a patient with a missed structure as worst."
    )
    columns: Columns[tuple[Effect, Wilcoxon]] = {
        "arm": lambda pair: pair[0].arm,
        "n": lambda pair: str(pair[0].n),
        "median": lambda pair: number(described[pair[0].arm].median, digits),
        "mean": lambda pair: number(described[pair[0].arm].mean, digits),
        "n found": lambda pair: str(described[pair[0].arm].n_finite),
        "missed": lambda pair: str(described[pair[0].arm].missed),
        "difference": lambda pair: number(pair[0].mean.value, digits, sign=True),
        f"{level} CI, patients alone": lambda pair: interval(pair[0].mean, digits),
        "win/tie/loss": lambda pair: f"{pair[0].wins}/{pair[0].ties}/{pair[0].losses}",
        "p, Holm": lambda pair: bare_p(pair[1].p_holm),
    }
    pairs = zip(study.effects, study.wilcoxon, strict=True)
    return table_of(f"explore-{study.metric.name}", caption, pairs, columns)


def over_secondary(studies: Sequence[MetricStudy]) -> Table:
    """The omnibus tests of the secondary metrics, exploratory."""
    tests = [(study.metric.title, study.omnibus) for study in studies]
    caption = "Exploratory: do the arms differ on the other metrics? Friedman's test as Iman-Davenport F, Kendall's W."
    columns: Columns[tuple[str, Omnibus]] = {
        "metric": lambda row: row[0],
        "n": lambda row: str(row[1].n),
        "k": lambda row: str(row[1].k),
        "F": lambda row: f"F({row[1].df1}, {row[1].df2}) = {number(row[1].f, 2)}",
        "p": lambda row: bare_p(row[1].p),
        "W": lambda row: number(row[1].kendall_w, 2),
    }
    computed = [(title, test) for title, test in tests if isinstance(test, Omnibus)]
    return table_of("explore-omnibus", caption, computed, columns, text=("F",))


def descriptions(study: MetricStudy) -> Table:
    """Scores per arm."""
    digits = study.metric.digits
    left_out = "" if all(arm.n == arm.n_finite for arm in study.descriptions) else "; mean and SD over patients found"
    caption = (
        f"{study.metric.in_unit} per arm over patients (macro over classes, mean over seeds{left_out}); number of "
        "missed structures and of diverged runs."
    )
    columns: Columns[Description] = {
        "arm": lambda arm: arm.arm,
        "n": lambda arm: str(arm.n),
        "mean": lambda arm: number(arm.mean, digits),
        "SD": lambda arm: number(arm.sd, digits),
        "median": lambda arm: number(arm.median, digits),
        "quartiles": lambda arm: f"{number(arm.q1, digits)} to {number(arm.q3, digits)}",
        "range": lambda arm: f"{number(arm.minimum, digits)} to {number(arm.maximum, digits)}",
        "missed": lambda arm: str(arm.missed),
        "diverged": lambda arm: str(arm.diverged),
    }
    return table_of(f"describe-{study.metric.name}", caption, study.descriptions, columns)


def forest(material: Material) -> Figure:
    """Every difference with its intervals and verdict."""
    analysis = material.analysis
    level, narrow = percent(1 - analysis.rules.alpha), percent(1 - 2 * analysis.rules.alpha)
    caption = (
        f"Every arm against the control: difference with {level} CI for all arms at once, which the verdict uses; grey "
        "band: margin; arrow head: goes on beyond the axis. Mark by verdict, hollow for inconclusive."
    )
    if any(answer.verdict in (Verdict.EQUIVALENT, Verdict.NEGLIGIBLE) for answer in analysis.answers):
        caption += (
            f" That a difference is confined to the margin rests on its {narrow} CI, in the table of null results."
        )
    digits = analysis.primary.metric.digits
    differences = [
        f"{answer.arm} {number(answer.estimate.value, digits, sign=True)}, {answer.verdict}"
        for answer in analysis.answers
    ]
    title = analysis.primary.metric.title
    alt = f"Forest plot of differences in {title} from {analysis.control}: {'; '.join(differences)}."
    return material.picture("forest", partial(draw_forest, analysis), caption, alt)


def _paired(material: Material) -> Figure:
    analysis, metric = material.analysis, material.analysis.primary.metric
    level = percent(1 - analysis.rules.alpha)
    caption = (
        f"Each patient's difference in {metric.title} from {analysis.control}, sorted, for the arms whose difference "
        "is shown or largest: triangle up where the arm is better, down where it is worse, ring for a tie; larger "
        f"marks are outliers by Tukey's fences; grey band: margin. Dashed: mean with the {level} CI over patients "
        "alone, unadjusted, which no verdict uses."
    )
    counts = [f"{pair.arm}: better in {pair.better}, worse in {pair.worse} patients" for pair in analysis.paired]
    alt = f"Waterfalls of differences per patient. {'; '.join(counts)}."
    return material.picture(
        "paired", partial(draw_paired, analysis.paired, metric, analysis.rules.margin), caption, alt
    )


def _family(analysis: Analysis) -> str:
    rules, metric = analysis.rules, analysis.primary.metric
    return (
        f"Primary family: {metric.title}, {counted(len(analysis.answers), 'comparison')} with {analysis.control} at "
        f"alpha = {rules.alpha:g} for all of them together, by Dunnett's distribution of the largest of several t. The "
        "error of a difference is half its own and half pooled over all arms. An interval's end may pull in extreme "
        "runs and patients of the arm, so that a worse score makes no verdict milder, other than that of one arm alone "
        "over fewer than ten folds. Where scores lie beyond ten margins, bounded ones claim at alpha and scores as "
        "they are at a quarter of it. BCa intervals use "
        f"{RESAMPLES} resamples of patients with a fixed seed; Hodges-Lehmann intervals invert the signed-rank test."
    )


def _over_runs(analysis: Analysis) -> str:
    tests = [answer.test for answer in analysis.answers if answer.test is not None]
    if not tests:
        return ""
    first = tests[0]
    overlap = f"n_test/n_train = {number(first.test_over_train or 0.0, 3)}"
    match first.kind:
        case "patients alone":
            return f"Runs: too few networks per arm; every statement is {CONDITIONAL}. Patients are blocks."
        case "patients and runs":
            return (
                "Random are the patients of the one held-out set and the runs of each arm (variance after Hillis 2007, "
                "degrees of freedom after Satterthwaite 1946)."
            )
        case "folds":
            return (
                "Random are the folds, as blocks, with patients and seeds averaged inside. Intervals that allow for "
                f"training sets that overlap are beside them (Nadeau and Bengio 2003, {overlap})."
            )
        case "folds that overlap":
            return (
                "Random are the folds, as blocks; variances are widened for test and training sets that overlap "
                f"(Nadeau and Bengio 2003, {overlap})."
            )


def _null(analysis: Analysis) -> str:
    rules, unit = analysis.rules, analysis.primary.metric.unit or analysis.primary.metric.title
    whose = "for each arm by itself" if rules.equivalence == "each" else "for all arms together"
    return (
        f"Equivalence: two one-sided t tests at a margin of {rules.margin:g} {unit} at alpha = {rules.alpha:g} "
        f"{whose}. Verdicts: superior or inferior where a difference is shown and not confined to the margin, "
        "different but negligible where it is both, equivalent where it is confined only, inconclusive where it is "
        "neither."
    )


def _differences(material: Material) -> Iterator[Block | None]:
    yield effects(material.analysis)
    yield _paired(material)
    yield folded(robust(material.analysis))


def _other_metrics(material: Material) -> Iterator[Block | None]:
    yield over_secondary(material.analysis.secondary)
    yield from map(exploratory, material.analysis.secondary)


DIFFERENCES = Topic(
    "differences",
    "Differences from the control",
    _differences,
    lambda analysis: (_family(analysis), _over_runs(analysis)),
)
NOTHING = Topic(
    "nothing",
    "Evidence for no difference",
    lambda material: (folded(null(material.analysis)),),
    lambda analysis: (_null(analysis),),
)
OTHER_METRICS = Topic("other-metrics", "Other metrics", _other_metrics, folded=True)
