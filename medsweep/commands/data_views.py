"""What ``medsweep data`` prints: each function turns a record of the data room into something rich can show."""

import math
import os
import re
import statistics
import textwrap
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import RenderableType
from rich.table import Column, Table
from rich.text import Text

from medsweep.data.check import NAMED, Group, Report, class_rows, grouped
from medsweep.data.cohort import CaseFacts
from medsweep.data.dataset import DatasetSpec, Finding
from medsweep.data.folds import patients_of
from medsweep.data.recognise import Reading
from medsweep.data.volumes import Planes

LEAST_PX, MOST_PX = 32, 512
"""Resolutions that are suggested."""

SHOWN_FINDINGS = 5
"""Findings of names alone that ``describe`` shows of a folder."""


def dataset_table(specs: Sequence[DatasetSpec]) -> RenderableType:
    """A row per dataset."""
    heads = ("name", "modalities", "classes", "cases", "units", "licence", "layout")
    table = Table(*(Column(head, overflow="fold") for head in heads), box=None, pad_edge=False)
    for spec in specs:
        modalities, classes = ", ".join(spec.modalities), ", ".join(spec.classes[1:])
        cells = (spec.name, modalities, classes, spec.cases, spec.units, spec.licence, spec.layout)
        table.add_row(*(Text(cell or "as you describe them") for cell in cells))
    return table


def description(spec: DatasetSpec) -> Text:
    """All that is known about a dataset, and the lines that name it in a sweep."""
    recipe = spec.intensity.model_dump(exclude_none=True)
    values = ", ".join(f"{value} {spec.classes[index]}" for value, index in sorted(spec.values.items()))
    regions = ", ".join(f"{name} = {' + '.join(classes)}" for name, classes in spec.regions.items())
    facts = {
        "layout": spec.layout, "modalities": ", ".join(spec.modalities) or "yours", "labels": values or "yours",
        "regions": regions, "units": spec.units, "cases": spec.cases, "slice axis": spec.slice_axis,
        "intensity": ", ".join(f"{key} {value}" for key, value in recipe.items()), "resolution": str(spec.resolution),
        "mirrored": spec.mirrored or "not declared",
        "where": spec.where, "licence": spec.licence, "terms": spec.terms,
        "publishing": "allowed within the terms" if spec.publishable else "no image, slice or sample made from it",
        "citation": spec.citation,
    }  # fmt: skip
    lines = [f"{spec.name}: {spec.title}", ""]
    lines += [f"{key:<12}{value}" for key, value in facts.items() if value]
    lines += ["", "expected folder:", textwrap.indent(textwrap.dedent(spec.expected).strip("\n"), "  ")]
    lines += ["", "traps:", *(f"  - {quirk}" for quirk in spec.quirks)] if spec.quirks else []
    lines += ["", "in a sweep:", "  data:", f"    dataset: {spec.name}", f"    root: ${{MEDSWEEP_DATA}}/{spec.name}"]
    return Text("\n".join([*lines, f"    resolution: {spec.resolution}"]))


def reading(found: Reading, root: Path) -> Text:
    """How a folder would be read, and the lines that name it in a sweep."""
    listing = found.listing
    errors = {finding.case for finding in listing.findings if finding.severity == "error"} - {"-"}
    people = patients_of(case.id for case in listing.cases)
    values = ", ".join(f"{value} {listing.classes[index]}" for value, index in sorted(listing.values.items()))
    example = [os.path.relpath(file, root) for file in listing.cases[0].files] if listing.cases else []
    facts = {
        "cases": f"{len(listing.cases)} usable, of {len(people)} patients, {len(errors)} with errors, "
        f"{len(listing.unlabelled)} without labels by design",
        "modalities": ", ".join(listing.modalities), "labels": values,
        "regions": ", ".join(f"{name} = {' + '.join(classes)}" for name, classes in listing.regions.items()),
        "patterns": ", ".join(listing.patterns), "slice axis": listing.slice_axis,
        "first case": f"{listing.cases[0].id}: {', '.join(example)}" if example else "none",
    }  # fmt: skip
    lines = [f"{root} is read as {found.how}", ""]
    lines += [f"{key:<12}{value}" for key, value in facts.items() if value]
    groups = grouped(listing.findings)
    for group in groups[:SHOWN_FINDINGS]:
        who = f"{len(group.cases)} cases" if len(group.cases) > 1 else group.cases[0]
        lines.append(f"{group.severity:<12}{'' if who == '-' else f'{who}: '}{group.what}")
    if (more := len(groups) - SHOWN_FINDINGS) > 0:
        lines.append(f"and {more} more findings: medsweep data check {found.name} --root {root}")
    planes = found.planes()
    lines += [f"{'resolution':<12}{resolution(planes)}"] if planes else []
    lines += ["", "in a sweep:", "  data:", f"    dataset: {found.name}", f"    root: {root}"]
    return Text("\n".join([*lines, *([f"    resolution: {side_of(planes)}"] if planes else [])]))


def finding_table(groups: Sequence[Group], root: Path) -> RenderableType:
    """A row per group; files as paths below ``root``."""
    folded = (Column(head, overflow="fold") for head in ("case", "file", "what"))
    table = Table(Column("level", overflow="fold", no_wrap=True), *folded, box=None, pad_edge=False)
    styles = {"error": "red", "warning": "yellow", "note": ""}
    for group in groups:
        shown = len(group.cases) if group.severity == "error" else NAMED
        named = ", ".join(group.cases[:shown]) + (", ..." if len(group.cases) > shown else "")
        cases = f"{len(group.cases)} cases: {named}" if len(group.cases) > 1 else named
        names = sorted({Path(file).name for file in group.files})
        file = names[0] if len(names) == 1 else f"{len(group.files)} files"
        if len(group.files) == 1:
            file = wrapped(os.path.relpath(group.files[0], root))
        table.add_row(*map(Text, (group.severity, cases, file, group.what)), style=styles[group.severity])
    return table


def wrapped(path: str, width: int = 48) -> str:
    """A long path over several lines, cut behind its slashes, and behind dots, hyphens and underscores if need be."""
    lines = [""]
    for part in re.split(r"(?<=/)", path):
        pieces = [part] if len(part) <= width else re.split(r"(?<=[._-])", part)
        for piece in pieces:
            if lines[-1] and len(lines[-1]) + len(piece) > width:
                lines.append("")
            lines[-1] += piece
    return "\n".join(lines)


def finding_line(finding: Finding, root: Path) -> str:
    """One finding as a line."""
    return f"{finding.severity}  {finding.case}  {os.path.relpath(finding.file, root)}: {finding.what}"


def summary(report: Report) -> RenderableType:
    """Counts, shapes, spacings and stored axes of the usable cases."""
    usable, listing = report.cases, report.listing
    lines = [
        f"{listing.name}: cases usable {len(usable)}, not usable {len(report.unusable)}, "
        f"without labels by design {len(listing.unlabelled)}"
    ]
    lines += [f"{key:<16}{value}" for key, value in listing.choices.items()]
    if not usable:
        return Text("\n".join(lines))
    slices = sum(facts.shape[0] for facts in usable)
    axes = Counter(facts.axes for facts in usable)
    lines += [
        f"{'slices':<16}{slices}, {sum(facts.foreground_slices for facts in usable)} with foreground",
        f"{'shape':<16}{_ranges(usable, lambda facts: facts.shape)}  (least / median / most)",
        f"{'spacing in mm':<16}{_ranges(usable, lambda facts: facts.spacing_mm)}",
        f"{'stored axes':<16}{', '.join(f'{name} in {count}' for name, count in axes.most_common())}",
    ]
    lines.append(f"{'resolution':<16}{resolution(usable)}")
    lines += [f"{'scaled, ' + name:<15} {_scaled(report, channel)}" for channel, name in enumerate(listing.modalities)]
    return Text("\n".join(lines))


def side_of(cases: Sequence[CaseFacts | Planes]) -> int:
    """The smallest power of two, of those that are suggested, that holds every slice unshrunk."""
    most = max(max(facts.shape[1:]) for facts in cases)
    return min(MOST_PX, max(LEAST_PX, int(2 ** math.ceil(math.log2(most)))))


def resolution(cases: Sequence[CaseFacts | Planes]) -> str:
    """``side_of`` the cases, the largest slice in pixels and mm, and how much of the side the slices fill."""
    largest = max(cases, key=lambda facts: max(facts.shape[1:]))
    (_, rows, columns), (_, down, across) = largest.shape, largest.spacing_mm
    side = side_of(cases)
    scale = min(1.0, side / max(rows, columns))
    filled = statistics.median(
        min(1.0, side / max(facts.shape[1:])) ** 2 * facts.shape[1] * facts.shape[2] / side**2 for facts in cases
    )
    size = f"{rows} x {columns} pixels, {rows * down:.0f} x {columns * across:.0f} mm"
    how = "unshrunk" if scale == 1 else f"{1 / scale:.1f} times shrunk"
    return f"{side} holds the largest slice ({size}) {how}; the median slice fills {filled:.0%} of it"


def _scaled(report: Report, channel: int) -> str:
    """How a modality is scaled, and what a sample of it becomes, in medians over the cases."""
    recipe = report.listing.intensity
    how = "window {:g} to {:g}".format(*recipe.window) if recipe.window else str(recipe.scale)
    inside = report.inside[channel] if report.inside else recipe.inside
    if recipe.scale == "z-score":
        how += ", of voxels that are not 0" if inside == "nonzero" else ", of all voxels"
        how += " (decided from all cases)" * bool(report.inside)
    of_cases = [facts.scaled[channel] for facts in report.cases]
    limits, sd = (statistics.median(getattr(one, name) for one in of_cases) for name in ("at_limits", "sd"))
    zeros = " with the zeros" * (recipe.scale == "z-score" and inside == "nonzero")
    return f"{how}: {limits:.0%} of voxels at the limits, SD {sd:.2f}{zeros} (medians)"


def _ranges(cases: Sequence[CaseFacts], sizes: Callable[[CaseFacts], Sequence[float]]) -> str:
    """Least, median and most of the three sizes, slices first."""
    axes = zip(("slices", "rows", "columns"), zip(*map(sizes, cases), strict=True), strict=True)
    return ", ".join(f"{name} {min(v):g} / {statistics.median(v):g} / {max(v):g}" for name, v in axes)


def class_table(report: Report) -> RenderableType:
    """Per class its stored values, and how often it occurs in the usable cases."""
    counted = (Column(head, justify="right") for head in ("stored as", "cases", "voxels", "slices"))
    table = Table("class", *counted, box=None, pad_edge=False)
    for name, stored, cases, voxels, slices in class_rows(report):
        table.add_row(Text(name), ", ".join(map(str, stored)), str(cases), str(voxels), str(slices))
    return table
