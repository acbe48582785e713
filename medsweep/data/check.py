"""Looking through a dataset before anything is made from it: headers, voxels and label sets of every case.

What keeps a case from being used is an error; what may be a mistake is a warning; what is merely unusual is a note.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np
from nibabel.affines import obliquity
from pydantic import TypeAdapter, ValidationError

from medsweep.data.cohort import CaseFacts, compare, inside_of, shortened
from medsweep.data.copies import sketch, voxel_hash
from medsweep.data.dataset import Case, Finding, Inside, Listing, Severity
from medsweep.data.header import Grid
from medsweep.data.ignored import IGNORED
from medsweep.data.nifti import class_indices
from medsweep.data.remembered import Remembered
from medsweep.data.scaling import is_hounsfield, look, remarks
from medsweep.data.volumes import LoadedCase, in_parallel, load, refusal

OBLIQUE_DEGREES = 1.0
"""Grids tilted by more are noted: their slices are cut along the scanner's axes, not the body's."""

COARSER = 1.01
"""An axis counts as coarser than another from this ratio of their spacings on."""

NUMBER = re.compile(r"(?<!\w)-?\d[\d.]*")
"""A number of its own, unlike that in ``int64``."""

NAMED = 3
"""Cases that a warning or note on several of them names; an error names them all."""

Found = tuple[CaseFacts | None, tuple[Finding, ...]]
"""What a case consists of, where it can be used, and what was found in it."""

FOUND: TypeAdapter[Found] = TypeAdapter(Found)

Findings = Iterator[tuple[Severity, Path, str]]
"""Severity, file and clause of each finding of a case."""


@dataclass(frozen=True)
class Report:
    """What ``check`` found."""

    listing: Listing
    cases: tuple[CaseFacts, ...]
    """The usable ones, in the order of the listing."""
    findings: tuple[Finding, ...]
    """Errors first, then warnings, then notes."""

    @property
    def unusable(self) -> tuple[str, ...]:
        """Ids of the cases with an error, in the order they were found."""
        ids = (finding.case for finding in self.findings if finding.severity == "error" and finding.case != "-")
        return tuple(dict.fromkeys(ids))

    @property
    def inside(self) -> tuple[Inside, ...]:
        """Which voxels the z-score of each modality looks at; empty where nothing had to be decided."""
        return inside_of(self.listing, [facts.zeros for facts in self.cases])

    def warnings(self) -> tuple[str, ...]:
        """The warnings, a line each, without folders."""
        lines = []
        for group in grouped([finding for finding in self.findings if finding.severity == "warning"]):
            files = ", ".join(dict.fromkeys(Path(file).absolute().name for file in group.files[:NAMED]))
            cases = ", ".join(group.cases[:NAMED]) + (", ..." if len(group.cases) > NAMED else "")
            who = f"{len(group.cases)} cases ({cases})" if len(group.cases) > 1 else cases
            lines.append(f"{files}: {group.what}" if who == "-" else f"{who}, {files}: {group.what}")
        return tuple(lines)

    @property
    def ok(self) -> bool:
        """Whether there is a usable case, and no error."""
        return bool(self.cases) and not any(finding.severity == "error" for finding in self.findings)


@dataclass(frozen=True)
class Group:
    """The same thing about several cases."""

    severity: Severity
    what: str
    cases: tuple[str, ...]
    files: tuple[str, ...]


def check(
    listing: Listing,
    *,
    threads: int = 2,
    on_read: Callable[[str, int], None] = lambda case, cases: None,
    remembered: Remembered | None = None,
) -> Report:
    """Read every file of a listing to its end, ``threads`` cases at a time, then compare the cases.

    A case that cannot be read is a finding, never an exception. ``on_read`` is called with the id of each case
    and their number. What ``remembered`` holds of a case is not read again.
    """

    def read(case: Case) -> Found:
        try:
            return _examine(case, listing) if remembered is None else _recalled(case, listing, remembered)
        except Exception as error:
            # One bad case never keeps the others from being looked at, whatever it makes other code raise.
            return None, (refusal(case, error),)
        finally:
            on_read(case.id, len(listing.cases))

    results = list(in_parallel(read, listing.cases, threads))
    facts = tuple(fact for fact, _ in results if fact is not None)
    findings = [*listing.findings, *(finding for _, of_case in results for finding in of_case)]
    together = compare(listing, facts)
    refused = {finding.case for finding in together if finding.severity == "error"}
    facts = tuple(fact for fact in facts if fact.id not in refused)
    order = get_args(Severity).index
    return Report(listing, facts, tuple(sorted((*findings, *together), key=lambda finding: order(finding.severity))))


def grouped(findings: Sequence[Finding]) -> list[Group]:
    """Errors of the same words made one, and warnings and notes that differ in their numbers alone."""
    groups: dict[tuple[str, str], list[Finding]] = {}
    for finding in findings:
        words = finding.what if finding.severity == "error" else NUMBER.sub("#", finding.what)
        groups.setdefault((finding.severity, words), []).append(finding)
    merged = []
    for same in groups.values():
        first = same[0]
        differ = len({finding.what for finding in same}) > 1
        what = f"{first.what} (numbers of {first.case})" if differ else first.what
        cases = dict.fromkeys(finding.case for finding in same)
        merged.append(Group(first.severity, what, tuple(cases), tuple(dict.fromkeys(finding.file for finding in same))))
    return merged


def _recalled(case: Case, listing: Listing, remembered: Remembered) -> Found:
    """``_examine``, or what it found before in the same files."""
    key = remembered.key(case, listing)
    try:
        return FOUND.validate_python(remembered.recall(key), strict=False)
    except ValidationError:
        found = _examine(case, listing)
        remembered.keep(key, FOUND.dump_python(found, mode="json"))
        return found


def _examine(case: Case, listing: Listing) -> Found:
    """Facts and findings of one case; no facts where it cannot be used."""
    loaded = load(case, listing)
    facts = _facts(listing, loaded)
    checks = [*_headers(loaded), *_geometry(facts, loaded), *_intensities(listing, loaded, facts)]
    checks += _image_as_mask(listing, loaded)
    checks += _ignored(facts, loaded)
    if not facts.foreground_slices:
        checks.append(("warning", case.label, "the mask is empty"))
    elif absent := [name for name, voxels in zip(listing.classes, facts.voxels, strict=True) if voxels == 0]:
        checks.append(("note", case.label, f"no voxel of {shortened(absent)}"))
    # Two channels of one file have one header.
    findings = tuple(Finding(severity, case.id, str(path), what) for severity, path, what in dict.fromkeys(checks))
    usable = not any(finding.severity == "error" for finding in findings)
    return (facts if usable else None), findings


def _facts(listing: Listing, loaded: LoadedCase) -> CaseFacts:
    planes = loaded.label_planes()
    count = len(listing.classes)
    of_values = np.stack([np.bincount(plane.ravel(), minlength=256) for plane in planes])
    per_slice, ignored = of_values[:, :count], of_values[:, IGNORED] * loaded.has_ignored
    has_foreground = per_slice[:, 1:].any(axis=1)
    return CaseFacts(
        id=loaded.case.id,
        shape=(planes.shape[0], planes.shape[1], planes.shape[2]),
        spacing_mm=loaded.spacing_mm,
        axes=loaded.grid.axes,
        slice_axis=loaded.slice_axis,
        voxels=tuple(per_slice.sum(axis=0).tolist()),
        slices=tuple((per_slice > 0).sum(axis=0).tolist()),
        foreground_slices=int(has_foreground.sum()),
        zeros=loaded.zeros,
        scaled=tuple(look(volume, loaded.classes, listing.intensity) for volume in loaded.image),
        copies=tuple(voxel_hash(volume) for volume in (*loaded.image, loaded.labels)),
        sketches=tuple(sketch(volume) for volume in loaded.image),
        ignored=int(ignored.sum()),
        ignored_slices=int((ignored > 0).sum()),
        whole_slices=int((has_foreground & (ignored == 0)).sum()),
    )


def _ignored(facts: CaseFacts, loaded: LoadedCase) -> Findings:
    if facts.ignored:
        share = facts.ignored / loaded.labels.size
        what = (
            f"{share:.1%} of voxels are ignored, in {facts.ignored_slices} of {facts.shape[0]} slices: losses and "
            "overlaps leave them out, generators and pools leave out these slices, and the case has no surface "
            "distances"
        )
        yield "warning", loaded.case.label, what


def _headers(loaded: LoadedCase) -> Findings:
    codes = (loaded.grid.qform_code, loaded.grid.sform_code)
    for path, grid in zip(loaded.case.structures or (loaded.case.label,), loaded.label_grids, strict=True):
        yield from ((severity, path, f"label: {what}") for severity, what in _header(grid))
        if np.dtype(grid.dtype).kind == "f":
            yield "note", path, f"label: stored as {grid.dtype}"
    for path, grid in zip(loaded.case.images, loaded.image_grids, strict=True):
        yield from ((severity, path, f"image: {what}") for severity, what in _header(grid))
        if (own := (grid.qform_code, grid.sform_code)) != codes:
            what = f"image and label on one grid by other codes: (qform, sform) is {own}, of the label {codes}"
            yield "note", path, what


def _header(grid: Grid) -> Iterator[tuple[Severity, str]]:
    yield from grid.remarks
    if grid.sform_code == 0:
        yield "note", f"no sform, the geometry is that of the qform (code {grid.qform_code})"
    elif grid.qform_code == 0:
        yield "note", f"no qform, the geometry is that of the sform (code {grid.sform_code})"
    if grid.scaling is not None:
        slope, inter = grid.scaling
        yield "note", f"stored numbers are scaled, times {slope:g} plus {inter:g}"
    if grid.dtype in ("int64", "uint64"):
        yield "note", f"stored as {grid.dtype}"


def _geometry(facts: CaseFacts, loaded: LoadedCase) -> Findings:
    label = loaded.case.label
    slices, height, width = facts.shape
    between, down, across = facts.spacing_mm
    if height != width:
        yield "note", label, f"slices of {height} x {width} pixels are not square; padding makes them so"
    if between * COARSER < max(down, across):
        pixels = f"{down:g} x {across:g} mm"
        yield "warning", label, f"the slice axis is not the coarsest: slices {between:g} mm apart, pixels of {pixels}"
    if 1 in facts.shape:
        yield "warning", label, f"one voxel along an axis: {slices} slices of {height} x {width}"
    angle = float(np.degrees(obliquity(loaded.grid.affine).max()))
    if angle > OBLIQUE_DEGREES:
        yield "note", label, f"the grid is tilted by {angle:.1f} degrees; slices follow the grid"


def _intensities(listing: Listing, loaded: LoadedCase, facts: CaseFacts) -> Findings:
    paths = loaded.case.images * (len(listing.modalities) if listing.stacked else 1)
    for path, name, scaled in zip(paths, listing.modalities, facts.scaled, strict=True):
        for severity, what in remarks(scaled, name, listing.intensity, hounsfield=is_hounsfield(listing, name)):
            yield severity, path, what


def _image_as_mask(listing: Listing, loaded: LoadedCase) -> Findings:
    """An image that was given as the mask, where values that no class names are background and so are not refused."""
    if not listing.other_values_are_background:
        return
    labels, sample = loaded.labels, (slice(None, None, 4),) * 3
    for name, volume in zip(listing.modalities, loaded.image, strict=True):
        # The sample comes first, since it tells almost every mask from its image.
        parts = ((volume[sample], labels[sample]), (volume, labels))
        if labels.any() and all(np.array_equal(class_indices(one, listing.values)[0], other) for one, other in parts):
            yield "error", loaded.case.label, f"the mask holds the values of {name}; give the mask, not the image"


def class_rows(report: Report) -> list[tuple[str, list[int], int, int, int]]:
    """Per class: name, stored label values, cases that have it, its voxels and its slices over all cases."""
    stored: dict[int, list[int]] = defaultdict(list)
    for value, index in sorted(report.listing.values.items()):
        stored[index].append(value)
    shape = (len(report.cases), len(report.listing.classes))
    voxels = np.array([facts.voxels for facts in report.cases], np.int64).reshape(shape)
    slices = np.array([facts.slices for facts in report.cases], np.int64).reshape(shape)
    counts = zip((voxels > 0).sum(0).tolist(), voxels.sum(0).tolist(), slices.sum(0).tolist(), strict=True)
    return [
        (name, stored[index], *numbers)
        for index, (name, numbers) in enumerate(zip(report.listing.classes, counts, strict=True))
    ]
