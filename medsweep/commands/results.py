"""``medsweep results``, ``analyse``, ``predict`` and ``best``: what is made of published trials. They run none."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from medsweep.commands.options import STORE_URL, AsJson, ResultsPath, StoreUrl, SweepPath
from medsweep.commands.prose import say
from medsweep.commands.typed import command_line, typed
from medsweep.errors import UserError
from medsweep.store.location import Location, location

if TYPE_CHECKING:
    from medsweep.analysis.report.page import Format


def results(sweep: SweepPath, store: StoreUrl = STORE_URL, results: ResultsPath = None, as_json: AsJson = False) -> int:
    """Write the tidy tables as parquet and CSV from what is published."""
    from medsweep.commands import documents, look_views
    from medsweep.study import session
    from medsweep.study.tables import write_tables

    opened = session.open_sweep(sweep, location(store), to="read")
    if opened.look is not None:
        say(look_views.progress_sentence(opened.look), err=True)
    written = list(write_tables(opened.tables(), opened.folder(results)))
    if as_json:
        documents.print_json({"sweep": opened.sweep.name, "files": written})
        return 0
    for path in written:
        typer.echo(path)
    return 0


def analyse(  # noqa: PLR0917
    sweeps: Annotated[
        list[Path],
        typer.Argument(
            metavar="SWEEP...",
            help="Files or names of sweeps that ask the same of other data; or .csv, .tsv or .parquet files of scores.",
        ),
    ],
    store: StoreUrl = STORE_URL,
    results: Annotated[
        Path | None,
        typer.Option("--results", "--out", help="Folder for tables and report \\[results/NAME; of several, results]."),
    ] = None,
    formats: Annotated[
        list[str] | None, typer.Option("--format", help="html, markdown or latex; may be repeated \\[html].")
    ] = None,
    control: Annotated[str | None, typer.Option(help="Of a table: the arm that the others are held against.")] = None,
    primary: Annotated[str | None, typer.Option(help="Of a table: the metric that carries verdicts \\[dice].")] = None,
    margin: Annotated[
        float | None, typer.Option(help="Of a table: differences inside +-margin do not matter \\[0.01].")
    ] = None,
    higher_is_better: Annotated[
        bool | None,
        typer.Option("--higher-is-better/--lower-is-better", help="Of a table: direction of a metric of your own."),
    ] = None,
    missing: Annotated[
        str | None, typer.Option(help="Of a table: refuse missing scores, or complete-cases \\[refuse].")
    ] = None,
    seeds: Annotated[
        str | None, typer.Option(help="Of a table: runs of one seed are independent, or paired \\[independent].")
    ] = None,
) -> int:
    """Make tables, statistics and the report from what is published; of several sweeps also what they say together.

    Of a table with the columns arm, patient and value, and fold, seed, class and metric where there are any, the same
    report without a sweep.
    """
    from medsweep.analysis.report.page import checked
    from medsweep.commands import tables

    checked(formats or ["html"])
    chosen = cast("list[Format]", formats or ["html"])
    settings = {
        "primary": primary, "margin": margin, "higher_is_better": higher_is_better, "missing": missing, "seeds": seeds,
    }  # fmt: skip
    if tables.are_tables(sweeps):
        return tables.analyse_tables(sweeps, results, chosen, control, **settings)
    _refuse_for_sweeps({"control": control, **settings})
    _analyse_sweeps(sweeps, location(store), results, chosen)
    return 0


def _analyse_sweeps(sweeps: Sequence[Path], store: Location, results: Path | None, formats: "Sequence[Format]") -> None:
    from medsweep.analysis.study.across import refuse_repeated
    from medsweep.commands import views
    from medsweep.data.source import dataset_name
    from medsweep.study import report, session
    from medsweep.study.made_report import verdicts_of

    sessions = [session.open_sweep(path, store, to="read") for path in sweeps]
    names = Counter(opened.sweep.name for opened in sessions)
    if twice := sorted(name for name, count in names.items() if count > 1):
        raise UserError(
            f"two of the files are sweeps called {twice[0]!r}; give each sweep once, or one a name of its own"
        )
    refuse_repeated([dataset_name(opened.sweep.base.data) for opened in sessions])
    several, analyses = len(sessions) > 1, []
    for opened in sessions:
        folder = results / opened.sweep.name if results is not None and several else results
        analysis, page = opened.report(folder, None, command_line(), formats)
        views.print_report(verdicts_of(analysis), page)
        analyses.append(analysis)
    if several:
        questions = list(dict.fromkeys(opened.sweep.file.question for opened in sessions))
        folder = (results or Path("results")) / report.ACROSS
        command = command_line()
        path = report.make_across(analyses, questions, folder, store=store, command=command, formats=formats)
        typer.echo(f"report: {path}")


def _refuse_for_sweeps(settings: Mapping[str, object]) -> None:
    given = [name.replace("_", "-") for name, value in settings.items() if value is not None]
    if given:
        raise UserError(f"--{given[0]} is for tables; a sweep says it in its file, under `analysis:` or `control:`")


def predict(  # noqa: PLR0917
    sweep: SweepPath,
    out: Annotated[Path, typer.Option(help="Folder to write to: OUT/ARM/fold-F-seed-S/PATIENT.nii.gz.")],
    patients: Annotated[
        Path | None,
        typer.Option(
            "--on",
            metavar="FOLDER",
            help="Folder of patients without labels, ID_MODALITY.nii.gz or ID_0000.nii.gz \\[the test patients].",
        ),
    ] = None,
    arm: Annotated[list[str] | None, typer.Option(help="Arm whose networks predict; may be repeated \\[all].")] = None,
    ensemble: Annotated[
        str, typer.Option(metavar="none|folds|all", help="With --on, networks whose probabilities are averaged.")
    ] = "none",
    probabilities: Annotated[
        bool, typer.Option("--probabilities", help="With --on, also write a map of probabilities per class.")
    ] = False,
    device: Annotated[str, typer.Option(help="With --on, where networks compute: cpu or cuda.")] = "cpu",
    store: StoreUrl = STORE_URL,
) -> int:
    """Write what the published networks see in their test patients, or in patients without labels, as NIfTI files.

    Files lie on the patients' own grids. With --on, volumes.csv has the volume of each structure. The files of the
    training patients are not needed.
    """
    from medsweep.study import predict as predicting
    from medsweep.study import session

    if patients is None and (ensemble != "none" or probabilities or device != "cpu"):
        raise UserError("--ensemble, --probabilities and --device are for patients without labels; give --on FOLDER")
    opened = session.open_sweep(sweep, location(store), to="read")
    if patients is None:
        paths = predicting.predict_tested(opened.plan, opened.decisions, opened.store, arm or [], out)
    else:
        asked = predicting.NewPrediction(patients, out, cast("predicting.Ensemble", ensemble), probabilities, device)
        paths = predicting.predict_new(opened.plan, opened.store, arm or [], asked, _warn)
    for path in paths:
        typer.echo(path)
    return 0


def score(  # noqa: PLR0917
    sweep: SweepPath,
    folder: Annotated[
        str,
        typer.Argument(metavar="FOLDER", help="PATIENT.nii.gz of the test patients; {fold} and {seed} are filled in."),
    ],
    name: Annotated[str, typer.Option(help="What tables call the predictions.")],
    fitted_on: Annotated[
        str,
        typer.Option(
            "--fitted-on", metavar="FILE", help="fold.json of data export-fold, or of that form; {fold} is filled in."
        ),
    ],
    stored_values: Annotated[
        bool, typer.Option("--stored-values", help="Files hold label values of the data, and not class indices.")
    ] = False,
    store: StoreUrl = STORE_URL,
    results: ResultsPath = None,
) -> int:
    """Score predictions that were made elsewhere, as by nnU-Net, in one table with the arms of a sweep."""
    import pandas as pd

    from medsweep.data.source import dataset_name
    from medsweep.study import session
    from medsweep.study.outside_scores import OutsideArm, score_outside
    from medsweep.study.tables import write_tables

    opened = session.open_sweep(sweep, location(store), to="read")
    asked = OutsideArm(name, folder, fitted_on, stored_values)
    rows = score_outside(opened.plan, opened.store, dataset_name(opened.sweep.base.data), asked)
    table = pd.concat([opened.tables()["results"], rows], ignore_index=True)
    written = write_tables({f"with-{name}": table}, opened.folder(results))
    for path in written:
        typer.echo(path)
    rules, control = opened.sweep.analysis, next(arm.name for arm in opened.plan.arms if arm.is_control)
    words = ["--control", control, "--primary", rules.primary, "--margin", f"{rules.margin:g}"]
    if len(rows.drop_duplicates(["fold", "seed"])) < len(opened.plan.replicates):
        words += ["--missing", "complete-cases"]
    typer.echo(typed("analyse", written[0], *words))
    return 0


def _warn(text: str) -> None:
    say(f"medsweep: {text}", err=True)


def best(
    sweep: SweepPath,
    store: StoreUrl = STORE_URL,
    results: Annotated[
        Path | None, typer.Option("--results", help="Folder whose search/ gets the history \\[results/NAME].")
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Show the best suggestions of a search, what mattered, and draw its history. Runs nothing."""
    from medsweep.analysis.figures.search import draw_search
    from medsweep.commands import documents, search_views, views
    from medsweep.search.results import shortfall
    from medsweep.study import session

    opened = session.open_sweep(sweep, location(store), to="read")
    search = opened.search
    if search is None:
        raise UserError(f"{sweep} has no search:, so nothing was suggested; medsweep analyse compares its arms")
    state = search.forward()
    if not state.told:
        raise UserError(f"no suggestion of {sweep} has a result yet; medsweep run {sweep} first")
    if as_json:
        documents.print_json(documents.best_document(search, state))
        return 1 if search.is_settled(state) and shortfall(search.section, state.results) else 0
    console = views.stdout()
    if any(result.feasible for result in state.told):
        console.print(search_views.best_table(search, state))
    for line in search_views.sentences(search, state):
        say(line)
    objective = search.section.objectives[0]
    label = f"{objective.metric}, {objective.goal}d" + ("" if objective.metric == "hours" else ", validation")
    drawn = draw_search(search_views.history(search, state), label, opened.folder(results) / "search" / "history")
    for path in (drawn.png, drawn.svg, drawn.csv):
        typer.echo(path)
    return 1 if search.is_settled(state) and shortfall(search.section, state.results) else 0
