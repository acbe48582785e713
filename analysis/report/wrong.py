"""What went wrong: arms and trials without a result, failures of networks, and classes that pools hardly show."""

import shlex
from collections.abc import Iterator

from medsweep.analysis.figures.style import unshown
from medsweep.analysis.report.document import Block, Bullets
from medsweep.analysis.report.table import DASH, Columns, Table, bare_p, table_of
from medsweep.analysis.report.topic import Material, ReportContext, Topic
from medsweep.analysis.study.analyse import Analysis
from medsweep.analysis.study.cases import SPARSE
from medsweep.analysis.study.failures import FailureRates
from medsweep.analysis.study.wording import counted, number, percent


def failures(analysis: Analysis) -> Table:
    """Diverged runs and missed structures of every arm, where there are any."""
    level = percent(1 - analysis.rules.alpha)
    caption = (
        "Failures as results of their own. Diverged runs with the exact interval of their share and Fisher's p "
        f"against {analysis.control}; missed structures of the runs that trained, share in percent, and its "
        f"difference from {analysis.control} in points, over folds if there are several, with the interval and p "
        "for all arms at once where anything was missed."
    )

    def points(share: float) -> str:
        return number(100 * share, 1, sign=True)

    missed_by_control = next(one.missed for one in analysis.failures if one.arm == analysis.control)

    def tells(one: FailureRates) -> bool:
        """Where nothing is missed there is no spread, and an interval of no width would claim too much."""
        return bool(one.missed or missed_by_control)

    columns: Columns[FailureRates] = {
        "arm": lambda one: one.arm,
        "diverged": lambda one: f"{one.diverged} of {one.runs}",
        f"{level} CI": lambda one: f"{100 * one.diverged_low:.0f}% to {100 * one.diverged_high:.0f}%",
        "p": lambda one: DASH if one.arm == analysis.control else bare_p(one.diverged_p),
        "missed": lambda one: f"{one.missed} of {one.structures}",
        "share": lambda one: number(100 * one.missed_share, 1),
        "difference": lambda one: DASH if one.difference is None else points(one.difference.value),
        f"{level} CI, all arms": lambda one: (
            f"{points(one.difference.low)} to {points(one.difference.high)}" if one.difference and tells(one) else DASH
        ),
        "p, adjusted": lambda one: bare_p(one.difference.p) if one.difference and tells(one) else DASH,
    }
    failed = any(one.diverged or one.missed for one in analysis.failures)
    return table_of("failures", caption, analysis.failures if failed else (), columns)


def lost_trials(context: ReportContext) -> Table:
    """Trials without a result."""
    head, caption = ("trial", "outcome", "message"), "Trials without a result."
    if context.store:
        where = shlex.join(["--store", context.store])
        caption += f" All that a trial reported, with tracebacks: medsweep log DIGEST {where}."
    return Table("lost-trials", caption, head, context.failures, frozenset({0, 1, 2}))


def _sentences(analysis: Analysis, context: ReportContext) -> Iterator[str]:
    for one in analysis.dead:
        yield f"{one.arm} has no verdict: {one.reason.removesuffix('.')}."
    for sparse in analysis.sparse:
        name = (
            context.classes[sparse.index - 1] if 0 < sparse.index <= len(context.classes) else f"class {sparse.index}"
        )
        yield (
            f"{sparse.arm}: {name} is nearly absent from {sparse.sparse} of {counted(sparse.pools, 'pool')}, in "
            f"{percent(round(sparse.share, 4))} of the masks of the worst (below {percent(SPARSE)})."
        )
    missing = unshown([analysis.control, *(arm.name for arm in analysis.arms), *analysis.classes])
    if missing:
        yield (
            f"No font on the machine that drew the pictures has {missing}. Install Noto Sans CJK, or the Noto font of "
            "the script, and write the report again. Until then PNG files show boxes, and SVG files need a font of the "
            "reader."
        )


def _blocks(material: Material) -> Iterator[Block | None]:
    analysis, context = material.analysis, material.context
    sentences, table, lost = tuple(_sentences(analysis, context)), failures(analysis), lost_trials(context)
    if not (sentences or table.rows or lost.rows):
        structures = sum(one.structures for one in analysis.failures)
        runs = sum(one.runs for one in analysis.failures)
        sentences = (
            f"Nothing that the results show: none of {runs} runs diverged, none of {structures} structures was missed.",
        )
    yield Bullets(sentences)
    yield table
    yield lost


TOPIC = Topic("wrong", "What went wrong", _blocks)
