"""Why an arm costs what it costs: levels, ladder, lattice, the waterfall of both, and the verdict on causes."""

from collections.abc import Iterator
from functools import partial

from medsweep.analysis.figures.mechanism import draw_waterfalls, waterfalls
from medsweep.analysis.report import causes_seen
from medsweep.analysis.report.document import Block, Bullets, Figure, Prose
from medsweep.analysis.report.table import DASH, Columns, Table, bare_p, interval, table_of, without_dashes
from medsweep.analysis.report.topic import Material, Topic
from medsweep.analysis.study.analyse import Analysis
from medsweep.analysis.study.contrasts import ContrastTest
from medsweep.analysis.study.mechanisms.cause_wording import NAMES, cost_text, portion_text, sentences
from medsweep.analysis.study.mechanisms.causes import Outcome, shown
from medsweep.analysis.study.mechanisms.mechanism import MechanismStudy
from medsweep.analysis.study.wording import CONDITIONAL, number, percent
from medsweep.mechanism import CELLS

QUESTION_NAMES = {
    "shares": "Shapley share",
    "added": "added alone",
    "removed": "removed from all three",
    "interactions": "interaction",
    "unexplained": "not reproduced",
}


def _table(analysis: Analysis, study: MechanismStudy, name: str, caption: str) -> Table:
    """Contrasts of one question; a cost above 0 is a loss."""
    digits, level = analysis.primary.metric.digits + 1, percent(1 - analysis.rules.alpha)
    columns: Columns[ContrastTest] = {
        name: lambda test: test.name,
        "arms": lambda test: _difference(test, higher_is_better=analysis.primary.metric.higher_is_better),
        "n": lambda test: str(test.test.patients),
        "cost": lambda test: number(test.estimate.value, digits, sign=True),
        f"{level} CI, all rows": lambda test: interval(test.estimate, digits),
        "p, adjusted": lambda test: bare_p(test.estimate.p),
        "shown": lambda test: _shown(test, study),
    }
    caption = f"{caption} Cost in {analysis.primary.metric.title}, above 0 where something is lost.{_marks(study)}"
    return table_of(f"mechanism-{name}", caption, study.tests[name], columns, text=("arms", "shown"))


def _difference(test: ContrastTest, *, higher_is_better: bool) -> str:
    better, worse = sorted(test.weights, key=lambda arm: test.weights[arm], reverse=higher_is_better)
    return f"{better} against {worse}"


def _shown(test: ContrastTest, study: MechanismStudy) -> str:
    if study.costs.one_run:
        return DASH
    return "cost" if shown(test.estimate) else "gain" if test.estimate.high < 0 else "no"


def _marks(study: MechanismStudy) -> str:
    if study.costs.one_run:
        return f" All of it is {CONDITIONAL}."
    return " Descriptive, since nothing is to be explained." if study.verdict.outcome is Outcome.NOTHING else ""


def _lattice(analysis: Analysis, study: MechanismStudy) -> Table:
    """Shares, single steps, interactions and the rest, each kind a family of its own."""
    digits, level = analysis.primary.metric.digits + 1, percent(1 - analysis.rules.alpha)
    rows = [(kind, test) for kind in QUESTION_NAMES for test in study.tests[kind]]
    columns: Columns[tuple[str, ContrastTest]] = {
        "what": lambda row: QUESTION_NAMES[row[0]],
        "of": lambda row: _causes(row[1].name),
        "n": lambda row: str(row[1].test.patients),
        "cost": lambda row: number(row[1].estimate.value, digits, sign=True),
        f"{level} CI, all of its kind": lambda row: interval(row[1].estimate, digits),
        "p, adjusted": lambda row: bare_p(row[1].estimate.p),
        "of the shortfall": lambda row: _portion(study, *row),
        "shown": lambda row: _shown(row[1], study),
    }
    caption = (
        f"What the lattice divides, cost in {analysis.primary.metric.title}. Shares are averages over all orders of "
        "adding the causes, and add up to new real slices minus all three. An interaction above 0 means that one "
        f"cause masks the other, the third being off. Of the shortfall: Fieller's interval, where the shortfall is "
        f"shown.{_marks(study)}"
    )
    return without_dashes(table_of("mechanism-lattice", caption, rows, columns, text=("of", "shown")))


def _portion(study: MechanismStudy, kind: str, test: ContrastTest) -> str:
    parts = {str(cause): part for cause, part in study.portions.items()} if kind == "shares" else {}
    return portion_text(parts.get(test.name)) or DASH


def _causes(name: str) -> str:
    return " and ".join(NAMES[cause] for cause in CELLS[name]) if name in CELLS else ""


def _cells(analysis: Analysis, study: MechanismStudy) -> Table | None:
    """The eight cells with their means."""
    if not study.tests["shares"]:
        return None
    metric = analysis.primary.metric
    arms = {"none (new real)": study.arms.ceiling, **{cell: study.arms.lattice[cell] for cell in CELLS}}
    means = {one.arm: one for one in analysis.primary.descriptions}
    runs = {arm: sum(run.arm == arm for run in analysis.runs) for arm in means}
    columns: Columns[tuple[str, str]] = {
        "causes": lambda row: row[0],
        "arm": lambda row: row[1],
        "n": lambda row: str(means[row[1]].n),
        "runs": lambda row: str(runs[row[1]]),
        "mean": lambda row: number(means[row[1]].mean, metric.digits + 1),
    }
    rows = [(cell, arm) for cell, arm in arms.items() if arm is not None]
    return table_of("mechanism-cells", f"The eight cells of the lattice, {metric.title}.", rows, columns, text=("arm",))


def picture(material: Material, study: MechanismStudy) -> Figure | None:
    """None where neither ladder nor lattice has all its arms."""
    falls, metric = waterfalls(study), material.analysis.primary.metric
    if not falls:
        return None
    caption = (
        f"From one arm to {study.arms.explain}, step by step. Thick lines: the arms' own means; bars: cost of a step, "
        "filled where it is shown; whiskers: its interval, which holds for all steps of its kind."
    )
    if study.costs.one_run:
        caption += f" All of it is {CONDITIONAL}."
    told = [f"{fall.title}: {', '.join(f'{k} {cost_text(v, metric)}' for k, v in fall.steps)}" for fall in falls]
    alt = f"Costs in {metric.title}. {'; '.join(told)}."
    return material.picture("mechanism", partial(draw_waterfalls, material.analysis, study), caption, alt)


def _blocks(material: Material) -> Iterator[Block | None]:
    analysis, study = material.analysis, material.analysis.mechanism
    if study is None:
        return
    yield Bullets(sentences(study, analysis.primary.metric, analysis.rules.margin))
    yield picture(material, study)
    yield _table(analysis, study, "levels", f"What {study.arms.explain} costs against each level of reference.")
    yield _table(analysis, study, "lower", f"What {study.arms.explain} costs at lower doses, against as many slices.")
    yield _table(analysis, study, "ladder", "The steps of the ladder, in the order of the sweep file.")
    yield _cells(analysis, study)
    yield _lattice(analysis, study)
    yield from causes_seen.blocks(material, study)
    if study.lost:
        yield Prose((f"Left out, since an arm of them has no score: {', '.join(study.lost)}.",))


def _methods(analysis: Analysis) -> tuple[str, ...]:
    if analysis.mechanism is None:
        return ()
    return (
        "Mechanism: costs are contrasts of arms as under Contrasts, each question a family of its own. A cause is "
        "named only if its share is shown, the shortfall is shown, a law of it tells the pool from new real slices, "
        "its arms deliver the measured dose, and an instrument sees it. Shares average over all orders of adding the "
        "causes (Shapley 1953). Ladder steps depend on their order. Misfit of mask and image does not say which of the "
        "two is wrong.",
    )


TOPIC = Topic("mechanism", "Mechanism", _blocks, _methods)
