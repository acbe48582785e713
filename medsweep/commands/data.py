"""``medsweep data``: which datasets are known, what a folder holds, what is made of it."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer
from pydantic import ValidationError

from medsweep.commands.options import STORE_URL, AsJson, Quiet, Rehash, StoreUrl, SweepPath
from medsweep.commands.prose import say
from medsweep.config import Config
from medsweep.data.catalogue import CATALOGUE, canonical_name
from medsweep.data.dataset import DatasetSpec
from medsweep.errors import UserError, nearest
from medsweep.validation import explain

if TYPE_CHECKING:
    from medsweep.data.config import DataConfig
    from medsweep.data.folds import Fold
    from medsweep.data.source import DataSource
    from medsweep.store.store import Store

C = TypeVar("C", bound=Config)

Name = Annotated[str, typer.Argument(metavar="NAME", help="A dataset of the list, or a name for your own folder.")]
Root = Annotated[Path, typer.Option("--root", metavar="DIR", help="Folder of the files.")]
Labels = Annotated[str | None, typer.Option("--labels", help="Which labels of ibsr18: segTRI or segTRI_fill.")]
LeaveOut = Annotated[
    list[str] | None,
    typer.Option("--leave-out", metavar="ID", help="A case, or a patient with all cases; give it once for each."),
]
Resolution = Annotated[int, typer.Option("--resolution", help="Side of the square slices in pixels.")]


def list_datasets() -> int:
    """List the datasets that medsweep knows by name."""
    from medsweep.commands import data_views, views

    console = views.stdout()
    console.print(data_views.dataset_table(list(CATALOGUE.values())))
    console.print("medsweep data describe NAME tells the rest; your own folder needs a medsweep.yaml", soft_wrap=True)
    return 0


def describe(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A dataset of the list, or a folder.")],
) -> int:
    """Tell all about a dataset, or what a folder would be read as."""
    from medsweep.commands import data_views, views

    if canonical_name(name) not in CATALOGUE and (Path(name).is_dir() or "/" in name):
        return _describe_folder(Path(name))
    views.stdout().print(data_views.description(_spec(name)), soft_wrap=True)
    return 0


def _describe_folder(root: Path) -> int:
    from medsweep.commands import data_views, views
    from medsweep.data.layouts.leftovers import foreign_formats
    from medsweep.data.recognise import draft, readings

    console = views.stdout()
    found = readings(root)
    if len(found) > 1:
        console.print(
            f"{root} can be read in {len(found)} ways, which give classes other names; choose by data.dataset\n"
        )
    for one in found:
        console.print(data_views.reading(one, root), soft_wrap=True)
        console.print()
    if found:
        return 0
    foreign = foreign_formats(root)
    lines = [f"nothing tells how to read {root}", *([foreign] if foreign else [])]
    inside = [child for child in sorted(root.iterdir()) if child.is_dir() and readings(child)]
    lines += [f"{child} inside it can be read: medsweep data describe {child}" for child in inside]
    if text := "" if inside else draft(root):
        lines += ["", f"a first {root / 'medsweep.yaml'}, guessed from the names; mend names and classes:", "", text]
    console.print("\n".join(lines), soft_wrap=True, markup=False, highlight=False)
    return 1


def check(  # noqa: PLR0917
    name: Name,
    root: Root,
    labels: Labels = None,
    leave_out: LeaveOut = None,
    threads: Annotated[int, typer.Option(min=1, help="Cases read, and held in memory, at a time.")] = 2,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> int:
    """Read every file of a folder and tell what keeps cases from being used, and what is unusual."""
    from medsweep.commands import data_views, documents, views
    from medsweep.data.check import check as look_through
    from medsweep.data.check import grouped
    from medsweep.data.source import list_cases, without
    from medsweep.tracking.reading import reading_cases

    listing = without(list_cases(name, root, labels=labels), leave_out or ())
    with reading_cases(lines=True, quiet=quiet) as on_read:
        report = look_through(listing, threads=threads, on_read=on_read)
    if as_json:
        documents.print_json(documents.check_document(report))
        return 0 if report.ok else 1
    console = views.stdout()
    if report.findings:
        console.print(data_views.finding_table(grouped(report.findings), root))
        console.print()
    console.print(data_views.summary(report), soft_wrap=True)
    if report.cases:
        console.print(data_views.class_table(report))
    return 0 if report.ok else 1


def prepare(  # noqa: PLR0917
    name: Name,
    root: Root,
    store: StoreUrl = STORE_URL,
    resolution: Resolution = 256,
    labels: Labels = None,
    leave_out: LeaveOut = None,
    rehash: Rehash = False,
    quiet: Quiet = False,
) -> int:
    """Cut and scale the slices of a folder into the store, as a sweep would; a second call finds them there."""
    from medsweep.data.config import DataConfig
    from medsweep.data.source import inspect_source
    from medsweep.store.location import location
    from medsweep.store.opening import open_store
    from medsweep.tracking.reading import reading_cases

    opened = open_store(location(store), "run")
    data = _valid(
        DataConfig, dataset=canonical_name(name), root=str(root), resolution=resolution, labels=labels,
        leave_out=tuple(leave_out or ()),
    )  # fmt: skip
    with reading_cases(lines=True, quiet=quiet) as on_read:
        source = inspect_source(data, opened.root, rehash=rehash, on_read=on_read)
    for line in source.warnings:
        say(f"medsweep: warning, data: {line}", err=True)
    if source.intensity.scale == "cohort":
        raise UserError(
            f"{name} has cohort intensities, which are fitted on the training patients of a fold; medsweep run "
            "prepares it fold by fold"
        )
    _prepare(data, source, None, opened, quiet=quiet)
    return 0


def export_fold(  # noqa: PLR0917
    sweep: SweepPath,
    fold: Annotated[int, typer.Option("--fold", min=0, help="Number of the fold.")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="New or empty folder.")],
    store: StoreUrl = STORE_URL,
    arm: Annotated[str | None, typer.Option("--arm", help="Whose patients, where arms differ in them.")] = None,
    volumes: Annotated[bool, typer.Option("--volumes", help="All slices of these patients as NIfTI, too.")] = False,
    nnunet: Annotated[
        int | None,
        typer.Option(metavar="NUMBER", help="In place of all that, DatasetNUMBER_NAME as nnU-Net reads it."),
    ] = None,
) -> int:
    """Write what a generator of one fold may learn from, to train one outside; its pool goes into DIR/pool.

    With --nnunet, whole patients of that fold with their own grey values, and the images of those whom it tests.
    """
    from medsweep.store.location import location
    from medsweep.store.opening import open_store
    from medsweep.study.exported_fold import export, fold_of_sweep
    from medsweep.study.nnunet_fold import export_raw, require_number

    if nnunet is not None:
        require_number(nnunet)
        if volumes:
            raise UserError("--volumes writes what a generator reads, and --nnunet what nnU-Net reads; choose one")
    _require_empty(out)
    opened = open_store(location(store), "run")
    chosen = fold_of_sweep(sweep, opened, fold, arm)
    prepared = _prepare(chosen.data, chosen.source, chosen.fold, opened)
    if nnunet is not None:
        raw = export_raw(prepared, chosen, out, nnunet)
        typer.echo(f"{len(raw.train)} training and {len(raw.test)} test cases of fold {fold}: {raw.folder}")
        say(f"train with nnUNetv2_train {nnunet} 2d all, predict imagesTs, and give these to medsweep score")
        return 0
    slices, patients = export(prepared, chosen, out, volumes=volumes)
    typer.echo(f"{slices} slices of the {len(patients)} training patients of fold {fold}: {out}")
    say(f"train on them, write pairs into {out / 'pool'}, and name it by synthesise.folder")
    return 0


def preview(  # noqa: PLR0917
    name: Name,
    root: Root,
    out: Annotated[Path, typer.Option("--out", metavar="FILE.png", help="Picture to write.")],
    resolution: Resolution = 256,
    patients: Annotated[int, typer.Option(min=1, help="Patients to draw, the first ones.")] = 4,
    labels: Labels = None,
    leave_out: LeaveOut = None,
) -> int:
    """Draw the fullest slice of a few patients, in every modality, as prepare makes it."""
    from medsweep.commands import data_views
    from medsweep.data.preview import draw, fullest_slices, grey_range
    from medsweep.data.source import holds_made_up, list_cases, without

    if out.suffix.lower() != ".png":
        raise UserError(f"--out {out} must end with .png")
    if not out.parent.is_dir():
        raise UserError(f"no folder {out.parent} for --out {out}; make it first")
    listing = without(list_cases(name, root, labels=labels), leave_out or ())
    rows, findings = fullest_slices(listing, resolution=resolution, patients=patients)
    findings = [*(finding for finding in listing.findings if finding.severity == "error"), *findings]
    for finding in findings:
        typer.echo(data_views.finding_line(finding, root), err=True)
    if not rows:
        replace(listing, findings=tuple(findings)).require()
    spec = CATALOGUE.get(listing.name)
    made_up = holds_made_up(root)
    remarks = [] if spec is None or spec.publishable or made_up else [f"not to be published: terms of {spec.name}"]
    title = f"{listing.name} at {resolution} pixels" + (", a made-up cohort" if made_up else "")
    title += "; black is {:g}, white is {:g}".format(*grey_range(listing.intensity))
    draw(rows, listing, out, title=title, remarks=remarks)
    for line in (*remarks, f"picture: {out}"):
        typer.echo(line)
    return 1 if findings else 0


def phantom(
    name: Name,
    patients: Annotated[int, typer.Option("--patients", help="Patients to make up.")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="New or empty folder.")],
    seed: Annotated[int, typer.Option("--seed", help="Another seed, another cohort.")] = 0,
) -> int:
    """Make up a cohort in the folder layout of a dataset, to try a study without its data."""
    from medsweep.data.phantom import DATASETS, PhantomConfig, write_cohort

    dataset = canonical_name(name)
    if dataset not in DATASETS:
        raise UserError(f"no cohort can be made up for dataset {name!r}; {nearest(name, DATASETS)}")
    config = _valid(PhantomConfig, patients=patients, seed=seed)
    _require_empty(out)
    write_cohort(dataset, config, out)
    typer.echo(f"made up {patients} patients, who are no persons, in the layout of {dataset}: {out}")
    return 0


def _require_empty(out: Path) -> None:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"--out {out} is not an empty folder; give a new one, since nothing is overwritten")


def _prepare(
    data: "DataConfig", source: "DataSource", fold: "Fold | None", store: "Store", *, quiet: bool = False
) -> Path:
    """The output of the trial that prepares the slices, run where it is not there; ``fold`` is for cohort scales.

    Raises:
        UserError: the slices could not be prepared.
    """
    from medsweep.execution.attempt import attempt
    from medsweep.execution.failures import ADVICE, TrialFailedError
    from medsweep.execution.task import RunContext, Task
    from medsweep.identity import short
    from medsweep.study.chains import prepare_config
    from medsweep.study.stages import STAGES
    from medsweep.sweep.plan import Builder
    from medsweep.tracking.tracker import Tracker

    builder = Builder(STAGES)
    digest = builder.add("prepare", prepare_config(data, source, fold))
    trial, place = builder.trials[digest], f"{store}/prepare/{digest}"
    if store.has("prepare", digest):
        store.verify("prepare", digest)
        typer.echo(f"prepare {short(digest)} is there already: {place}")
        return store.output("prepare", digest)
    task = Task(
        sweep="data-prepare", stage="prepare", digest=digest, config=trial.config.model_dump(mode="json"),
        label=data.dataset, hours=trial.hours, tail_hours=trial.hours,
    )  # fmt: skip
    try:
        for done in attempt(task, RunContext(store=store.location, stages=STAGES), store, Tracker()):
            if not quiet:
                typer.echo(f"{done.step} of {done.total}  {source.patients[done.step - 1]}", err=True)
    except TrialFailedError as error:
        shutil.rmtree(store.part("prepare", digest), ignore_errors=True)
        if error.outcome == "bad-input":
            raise UserError(error.message) from None
        say(f"medsweep: {error}; {ADVICE.get(error.outcome, 'run the same command again')}", err=True)
        raise typer.Exit(1) from None
    typer.echo(f"prepared {len(source.patients)} patients as {short(digest)}: {place}")
    return store.output("prepare", digest)


def _valid(model: type[C], **typed: Any) -> C:
    """``model`` of what was typed; what does not fit is the user's to mend."""
    try:
        return model(**typed)
    except ValidationError as error:
        raise UserError(explain(error, model)[1]) from None


def _spec(name: str) -> DatasetSpec:
    spec = CATALOGUE.get(canonical_name(name))
    if spec is None:
        raise UserError(f"no dataset {name!r} is known; {nearest(name, CATALOGUE)}")
    return spec
