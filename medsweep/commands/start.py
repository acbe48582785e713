"""``medsweep new`` and ``demo``: from nothing to a sweep that runs."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from medsweep.commands import sweeps
from medsweep.commands.options import STORE_URL, ResultsPath, StoreUrl, WandbMode
from medsweep.commands.typed import typed
from medsweep.data.catalogue import CATALOGUE, canonical_name
from medsweep.errors import UserError, nearest

if TYPE_CHECKING:
    from medsweep.data.check import Report
    from medsweep.data.recognise import Reading
    from medsweep.store.location import Location
    from medsweep.study.new_sweep import Found

DEMO = Path("quickstart")
MADE_UP = 20
"""Patients of a cohort that is made up for a dataset whose files are not here."""


def new(
    root: Annotated[
        Path | None, typer.Option("--root", metavar="DIR", help="Folder of your data.", show_default=False)
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option(
            "--dataset", metavar="NAME", help="A dataset that medsweep data list shows; without --root made up.",
            show_default=False,
        ),
    ] = None,
    size: Annotated[
        Literal["demo", "cpu", "gpu"] | None,
        typer.Option(help="What the sweep is sized to \\[gpu where there is one, else cpu].", show_default=False),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE.yaml", help="File to write \\[DATASET-first.yaml].")
    ] = None,
    store: StoreUrl = STORE_URL,
) -> int:  # fmt: skip
    """Look at your data and write a first sweep file for it, with medsweep.yaml where the folder needs one."""
    from medsweep.store.location import location
    from medsweep.store.opening import open_store
    from medsweep.study.new_sweep import name_of, sweep_text

    if out is not None:
        _require_new(out)
    where = location(store)
    open_store(where, "plan")  # what is wrong with it is told before anything is written
    found = _made_up(dataset) if root is None else _looked_at(root, dataset, where)
    path = out or Path(f"{name_of(found)}.yaml")
    _require_new(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(sweep_text(found, size or ("gpu" if _has_gpu() else "cpu")), encoding="utf-8")
    typer.echo(f"wrote {path}: {found.patients} patients, {found.slices} slices that show a class")
    _tell_price(path, where)
    if found.root is not None:
        look = typed("data", "preview", found.dataset, "--root", found.root, "--out", "preview.png")
        typer.echo(f"look at the slices: {look}")
    there = () if store == STORE_URL else ("--store", store)
    typer.echo(f"what it costs:      {typed('plan', path, *there)}")
    typer.echo(f"run it:             {typed('run', path, *there)}")
    return 0


def demo(
    store: StoreUrl = STORE_URL,
    results: ResultsPath = None,
    wandb: WandbMode = None,
) -> int:
    """Run the sweep quickstart on a made-up cohort, minutes on two cores, and say what to type next."""
    code = sweeps.run(DEMO, store=store, results=results, wandb=wandb)
    if code == 0:
        typer.echo(f"your own data: {typed('new', '--root', 'DIR')}  writes a sweep for them")
    return code


def _require_new(path: Path) -> None:
    if path.exists():
        raise UserError(f"{path} is there already, and nothing is overwritten; give another file by --out")


def _made_up(dataset: str | None) -> "Found":
    """A cohort in the layout of a dataset."""
    from medsweep.data.phantom import DATASETS, PhantomConfig, slices_of
    from medsweep.study.new_sweep import Found

    if dataset is None:
        raise UserError(
            "give your data by --root DIR, or a name of medsweep data list by --dataset NAME; without either, "
            "medsweep demo shows what a sweep is"
        )
    name = canonical_name(dataset)
    if name not in DATASETS:
        text = f"no cohort can be made up for {dataset!r}, so give its folder by --root DIR"
        raise UserError(f"{text}; {nearest(name, DATASETS)}")
    side = CATALOGUE[name].resolution if name in CATALOGUE else 64
    return Found(name, MADE_UP, slices_of(PhantomConfig(patients=MADE_UP), name), side)


def _looked_at(root: Path, dataset: str | None, store: "Location") -> "Found":
    """What the folder holds; a description is written where nothing tells how to read it.

    Raises:
        UserError: nothing in it can be used, or too few patients.
    """
    from medsweep.data.folds import patients_of
    from medsweep.study.new_sweep import LEAST_PATIENTS, Found

    reading = _reading(root, dataset)
    report = _checked(reading, store)
    cases = report.cases
    people = len(patients_of(case.id for case in cases))
    check = typed("data", "check", reading.name, "--root", root)
    if report.unusable:
        typer.echo(f"{len(report.unusable)} case(s) cannot be used and are left out; why: {check}")
    if people < LEAST_PATIENTS:
        raise UserError(f"{root} has {people} patient(s) that can be used, and a sweep needs {LEAST_PATIENTS}; {check}")
    return Found(
        dataset=reading.name,
        patients=people,
        slices=sum(case.foreground_slices for case in cases),
        side=max(max(case.shape[1:]) for case in cases),
        root=root.resolve(),
        leave_out=report.unusable,
    )


def _reading(root: Path, dataset: str | None) -> "Reading":
    """The way to read the folder: as ``dataset``, as the catalogue knows it, or by a description, made if need be."""
    from medsweep.data.layouts.description import DESCRIPTION
    from medsweep.data.recognise import Reading, draft, readings
    from medsweep.data.source import list_cases

    if dataset is not None:
        name = canonical_name(dataset)
        return Reading(name, "as you say", list_cases(name, root))
    found = readings(root)
    if not found:
        if not (text := draft(root)):
            raise UserError(
                f"nothing tells how to read {root}, and its names do not tell which files are masks; "
                f"{typed('data', 'describe', root)} shows what is needed"
            )
        (root / DESCRIPTION).write_text(f"{text}\n", encoding="utf-8")
        typer.echo(f"wrote {root / DESCRIPTION}, guessed from the names: mend names and classes")
        found = readings(root)
    known = [one for one in found if one.name in CATALOGUE]
    best = (known or found)[0]
    typer.echo(f"{root} is read as {best.how}")
    return best


def _checked(reading: "Reading", where: "Location") -> "Report":
    """Every file is read once; the plan of the sweep finds it remembered in the store, which is made."""
    from medsweep.data.check import check
    from medsweep.data.remembered import Remembered
    from medsweep.store.opening import is_there, open_store
    from medsweep.tracking.reading import reading_cases

    remembered = Remembered(open_store(where, "plan" if is_there(where) else "run").root)
    with reading_cases() as on_read:
        report = check(reading.listing, remembered=remembered, on_read=on_read)
    remembered.save()
    return report


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def _tell_price(path: Path, store: "Location") -> None:
    from medsweep.durations import people_hours
    from medsweep.study import session

    cost = session.open_sweep(path, store).forecast()
    typer.echo(
        f"{cost.trials} trials, about {people_hours(cost.wall.middle)} with {cost.slots} at once "
        f"({people_hours(cost.wall.low)} - {people_hours(cost.wall.high)})"
    )
