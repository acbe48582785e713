"""What only all cases together show: copies, slices cut in different directions, and choices made once for all."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from medsweep.data.dataset import Case, Finding, Inside, Listing
from medsweep.data.folds import patient_of
from medsweep.data.intensity import ZERO_BACKGROUND
from medsweep.data.scaling import Scaled

DIRECTIONS = ("sagittal", "coronal", "axial")
"""Names of the canonical axes as directions of slices."""

LISTED = 10
"""Classes that a finding names; the rest is counted."""

SAME_VOLUME = 0.9999
"""Correlation of sketches from which two volumes are taken for one."""


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
    slice_axis: int
    """Canonical axis along which slices are cut."""
    voxels: tuple[int, ...]
    """Number of voxels by class index."""
    slices: tuple[int, ...]
    """Number of slices that hold the class, by class index."""
    foreground_slices: int
    """Slices with anything but background."""
    zeros: tuple[float, ...]
    """Share of voxels that are exactly 0, by modality."""
    scaled: tuple[Scaled, ...]
    """What scaling makes of it, by modality."""
    copies: tuple[str, ...]
    """``voxel_hash`` by modality, then of the labels."""
    sketches: tuple[tuple[float, ...], ...]
    """``sketch`` by modality."""
    ignored: int = 0
    """Voxels that nobody labelled."""
    ignored_slices: int = 0
    """Slices that hold some."""
    whole_slices: int = 0
    """Slices with foreground that hold none."""


def inside_of(listing: Listing, zeros: Sequence[Sequence[float]]) -> tuple[Inside, ...]:
    """Which voxels the z-score of each modality looks at, for all cases alike; empty where the recipe does not ask.

    ``zeros`` is the share of zeros by case and modality. ``auto`` is ``nonzero`` where exact zeros make up at least 5 %
    of more than half of the cases, else ``all``.
    """
    if listing.intensity.scale != "z-score" or listing.intensity.inside != "auto" or not zeros:
        return ()
    masked = (sum(share >= ZERO_BACKGROUND for share in shares) for shares in zip(*zeros, strict=True))
    return tuple("nonzero" if 2 * count > len(zeros) else "all" for count in masked)


def compare(listing: Listing, cases: Sequence[CaseFacts]) -> list[Finding]:
    """Findings about the cases together, in the order of the listing."""
    if not cases:
        return []
    files = {case.id: case for case in listing.cases}
    return [
        *_copies(listing, cases, files),
        *_rescaled(listing, cases, files),
        *_equal_masks(cases, files),
        *_directions(listing, cases, files),
        *_absent_classes(listing, cases, files),
        *_divided(listing, cases, files),
        *_nowhere_whole(cases, files),
    ]


def _copies(listing: Listing, cases: Sequence[CaseFacts], files: dict[str, Case]) -> Iterator[Finding]:
    """The same voxels in two cases, or in two modalities of one."""
    first: dict[str, tuple[str, str]] = {}
    for facts in cases:
        images = zip(listing.modalities, _paths(listing, files[facts.id]), facts.copies, strict=False)
        shared: dict[str, list[tuple[str, Path]]] = defaultdict(list)
        for name, path, content in images:
            other, modality = first.setdefault(content, (facts.id, name)) if content else (facts.id, name)
            if other != facts.id:
                shared[other].append((name if name == modality else f"{name} as {modality}", path))
            elif modality != name:
                what = f"{name} and {modality} hold the same voxels; give {name} its own file, or leave it out"
                yield Finding("error", facts.id, str(path), what)
        for other, volumes in shared.items():
            names = ", ".join(name for name, _ in volumes)
            what = f"{facts.id} and {other} hold the same voxels ({names}); keep one of them"
            yield Finding("error", facts.id, str(volumes[0][1]), what)


def _rescaled(listing: Listing, cases: Sequence[CaseFacts], files: dict[str, Case]) -> Iterator[Finding]:
    """Volumes of one shape that differ in scale and rounding alone, in cases of two patients or in one case."""
    by_shape = defaultdict(list)
    for facts in cases:
        volumes = zip(listing.modalities, _paths(listing, files[facts.id]), facts.copies, facts.sketches, strict=False)
        for name, path, content, drawn in volumes:
            if drawn:
                by_shape[facts.shape, len(drawn)].append((facts.id, name, path, content, drawn))
    for alike in by_shape.values():
        ids, names, paths, contents, drawn = zip(*alike, strict=True)
        sketches = np.array(drawn)
        sketches /= np.linalg.norm(sketches, axis=1, keepdims=True)
        for number, id_ in enumerate(ids):
            correlations = sketches[:number] @ sketches[number]
            for other in np.flatnonzero(correlations >= SAME_VOLUME):
                visits = id_ != ids[other] and patient_of(id_) == patient_of(ids[other])
                if contents[number] != contents[other] and not visits:
                    what = (
                        f"{names[number]} looks like {names[other]} of {ids[other]} on another scale or rounded "
                        f"otherwise (correlation {correlations[other]:.5f}); are both one volume?"
                    )
                    yield Finding("warning", id_, str(paths[number]), what)
                    break


def _equal_masks(cases: Sequence[CaseFacts], files: dict[str, Case]) -> Iterator[Finding]:
    """The same mask in cases of two patients whose images differ."""
    first: dict[str, CaseFacts] = {}
    for facts in cases:
        content = facts.copies[-1]
        other = first.setdefault(content, facts)
        copied = {*facts.copies[:-1]} & {*other.copies[:-1]} - {""}
        if content and not copied and patient_of(other.id) != patient_of(facts.id):
            what = f"the mask has the voxels of that of {other.id}; are both the same patient?"
            yield Finding("warning", facts.id, str(files[facts.id].label), what)


def _paths(listing: Listing, case: Case) -> tuple[Path, ...]:
    """The image file of each modality."""
    return case.images * (len(listing.modalities) if listing.stacked else 1)


def _directions(listing: Listing, cases: Sequence[CaseFacts], files: dict[str, Case]) -> Iterator[Finding]:
    """A stored axis that runs in different directions through the patients."""
    counts = Counter(facts.slice_axis for facts in cases)
    if len(counts) == 1:
        return
    usual = counts.most_common(1)[0][0]
    odd = next(facts for facts in cases if facts.slice_axis != usual)
    told = ", ".join(f"{DIRECTIONS[axis]} in {count}" for axis, count in counts.most_common())
    what = (
        f"the {listing.slice_axis} stored axis is not one direction: {told} ({odd.id} is "
        f"{DIRECTIONS[odd.slice_axis]}); name it by anatomy, slice_axis: axial, coronal or sagittal"
    )
    yield Finding("error", "-", str(files[odd.id].label), what)


def _absent_classes(listing: Listing, cases: Sequence[CaseFacts], files: dict[str, Case]) -> Iterator[Finding]:
    """Classes that nobody has, and a cohort without any foreground."""
    label = str(files[cases[0].id].label)
    absent = [name for index, name in enumerate(listing.classes) if index and not any(f.voxels[index] for f in cases)]
    if len(absent) == len(listing.classes) - 1:
        nothing = f"no mask of {len(cases)} has any foreground; there is nothing to learn or to measure"
        yield Finding("error", "-", label, nothing)
    elif absent:
        lacking = f"no case has any voxel of {shortened(absent)}; are their label values right?"
        yield Finding("warning", "-", label, lacking)


def shortened(names: Sequence[str]) -> str:
    """The first ``LISTED`` names and how many more there are."""
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return ", ".join(names[:LISTED]) + more


def _divided(listing: Listing, cases: Sequence[CaseFacts], files: dict[str, Case]) -> Iterator[Finding]:
    """Cases that ``inside: auto`` would by themselves have scaled otherwise than the cohort."""
    for channel, inside in enumerate(inside_of(listing, [facts.zeros for facts in cases])):
        by_kind = defaultdict(list)
        for facts in cases:
            by_kind["nonzero" if facts.zeros[channel] >= ZERO_BACKGROUND else "all"].append(facts.id)
        others = by_kind["all" if inside == "nonzero" else "nonzero"]
        if others:
            path = str(_paths(listing, files[others[0]])[channel])
            much = "less" if inside == "nonzero" else "more"
            what = (
                f"{listing.modalities[channel]} is scaled over {_words(inside)} in all cases, and {len(others)} of "
                f"{len(cases)} have {much} than {ZERO_BACKGROUND:.0%} of zeros ({others[0]}); say which is right with "
                "intensity: {inside: nonzero} or {inside: all}"
            )
            yield Finding("warning", "-", path, what)


def _nowhere_whole(cases: Sequence[CaseFacts], files: dict[str, Case]) -> Iterator[Finding]:
    """A cohort of which no slice with foreground is labelled in every pixel."""
    if any(facts.ignored for facts in cases) and not any(facts.whole_slices for facts in cases):
        what = (
            "every slice with foreground has ignored voxels; U-Nets can be trained and scored, and no generator can be "
            "trained, since each needs slices that are labelled whole"
        )
        yield Finding("warning", "-", str(files[cases[0].id].label), what)


def _words(inside: Inside) -> str:
    return "voxels that are not 0" if inside == "nonzero" else "all voxels"
