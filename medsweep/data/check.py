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

from medsweep.data import volumes
from medsweep.data.dataset import Case, Finding, Listing, Severity
from medsweep.data.header import Grid
from medsweep.data.volumes import LoadedCase, in_parallel
from medsweep.errors import UserError

OBLIQUE_DEGREES = 1.0
"""Grids tilted by more are noted: their slices are cut along the scanner's axes, not the body's."""

COARSER = 1.01
"""An axis counts as coarser than another from this ratio of their spacings on."""

NUMBER = re.compile(r"(?<!\w)-?\d[\d.]*")
"""A number of its own, unlike that in ``int64``."""

Findings = Iterator[tuple[Severity, Path, str]]
"""Severity, file and clause of each finding of a case."""


@dataclass(frozen=True)
class CaseFacts:
    """What a case that can be used consists of."""

    id: str
    shape: tuple[int, int, int]
    """Slices, rows and columns as they will be cut."""
    spacing_mm: tuple[float, float, float]
    """Distance between slices, rows and columns."""
    axes: str
    """Directions towards which the label file's stored axes grow, such as ``IPL``."""
    voxels: tuple[int, ...]
    """Number of voxels by class index."""
    slices: tuple[int, ...]
    """Number of slices that hold the class, by class index."""
    foreground_slices: int
    """Slices with anything but background."""


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


def check(listing: Listing, *, threads: int = 2, on_read: Callable[[str], None] = lambda case: None) -> Report:
    """Read every header, image and label set of a listing, ``threads`` cases at a time.

    A case that cannot be read is a finding, never an exception. ``on_read`` is called with the id of each case.
    """

    def read(case: Case) -> tuple[CaseFacts | None, list[Finding]]:
        try:
            return _examine(case, listing)
        finally:
            on_read(case.id)

    results = list(in_parallel(read, listing.cases, threads))
    findings = [*listing.findings, *(finding for _, of_case in results for finding in of_case)]
    facts = tuple(fact for fact, _ in results if fact is not None)
    return Report(
        listing, facts, tuple(sorted(findings, key=lambda finding: get_args(Severity).index(finding.severity)))
    )


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


def _examine(case: Case, listing: Listing) -> tuple[CaseFacts | None, list[Finding]]:
    """Facts and findings of one case; no facts where it cannot be used."""
    try:
        loaded = volumes.load(case, listing)
    except Exception as error:
        # One bad case never keeps the others from being looked at, whatever it makes other code raise.
        message = str(error) if isinstance(error, UserError) else f"cannot be read ({type(error).__name__}: {error})"
        path = next((path for path in (*case.images, case.label) if str(path) in message), case.label)
        # The file stands beside the message, so its name is enough there.
        return None, [Finding("error", case.id, str(path), message.replace(str(path), path.name))]
    facts = _facts(listing, loaded)
    checks = [*_headers(loaded), *_geometry(facts, loaded), *_intensities(listing, loaded)]
    if absent := [name for name, voxels in zip(listing.classes, facts.voxels, strict=True) if voxels == 0]:
        checks.append(("note", case.label, f"no voxel of {', '.join(absent)}"))
    return facts, [Finding(severity, case.id, str(path), what) for severity, path, what in checks]


def _facts(listing: Listing, loaded: LoadedCase) -> CaseFacts:
    planes = loaded.label_planes()
    count = len(listing.classes)
    per_slice = np.stack([np.bincount(plane.ravel(), minlength=count) for plane in planes])
    return CaseFacts(
        id=loaded.case.id,
        shape=(planes.shape[0], planes.shape[1], planes.shape[2]),
        spacing_mm=loaded.spacing_mm,
        axes=loaded.grid.axes,
        voxels=tuple(per_slice.sum(axis=0).tolist()),
        slices=tuple((per_slice > 0).sum(axis=0).tolist()),
        foreground_slices=int(per_slice[:, 1:].any(axis=1).sum()),
    )


def _headers(loaded: LoadedCase) -> Findings:
    label = loaded.case.label
    codes = (loaded.grid.qform_code, loaded.grid.sform_code)
    yield from ((severity, label, f"label: {what}") for severity, what in _header(loaded.grid))
    if np.dtype(loaded.grid.dtype).kind == "f":
        yield "note", label, f"label: stored as {loaded.grid.dtype}"
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


def _intensities(listing: Listing, loaded: LoadedCase) -> Findings:
    paths = loaded.case.images * (len(listing.modalities) if listing.stacked else 1)
    for path, name, volume in zip(paths, listing.modalities, loaded.image, strict=True):
        low, high = float(volume.min()), float(volume.max())
        if low == high:
            yield "warning", path, f"{name} is constant: {low:g} everywhere"
        if name.lower() == "ct" and low >= 0:
            yield "warning", path, f"{name} has no negative value, the least is {low:g}; HU are expected"


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
