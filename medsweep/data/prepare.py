"""The prepare stage: volumes of a dataset in, normalised slices as memory maps out (see ``medsweep.data.slices``).

Patients are read in parallel, each by one thread that holds one patient at a time. A run that was cut short goes on
after the patients of its last checkpoint and ends with the same bytes.
"""

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from medsweep.data import intensity
from medsweep.data.check import check
from medsweep.data.config import PrepareConfig
from medsweep.data.dataset import Case, Inside, Intensity, Listing
from medsweep.data.fitted_on import COHORT_FILE, write_fitted_on
from medsweep.data.folds import split
from medsweep.data.geometry import Resize
from medsweep.data.ignored import IGNORED
from medsweep.data.intensity import Constants
from medsweep.data.source import fingerprint, inspect_source, is_made_up, open_listing
from medsweep.data.volumes import LoadedCase, in_parallel, load, planes_of
from medsweep.errors import UserError
from medsweep.files import fsync_tree, sha256_of
from medsweep.trial import Progress, Trial

log = logging.getLogger(__name__)

Entry = dict[str, Any]
"""What is known of one prepared patient, as JSON: rows, geometry, areas and file hashes."""

ENTRIES = "entries.json"


def run(config: PrepareConfig, inputs: Mapping[str, Path], trial: Trial) -> Iterator[Progress]:
    """Write the slice set of ``config`` under ``trial.output``; one report per patient.

    Raises:
        UserError: the files changed since ``config.source`` was taken, or a volume is refused.
    """
    listing = open_listing(config, trial.scratch)
    constants = _constants(config, listing, trial)
    recipes = _recipes(config, listing, trial)
    checkpoint = trial.restore()
    entries: dict[str, Entry] = {}
    if checkpoint is not None:
        entries = {entry["patient"]: entry for entry in json.loads((checkpoint[1] / ENTRIES).read_text("utf-8"))}
    writer = SliceWriter(trial.output, listing, config, resume=checkpoint is not None)

    def prepare(case: Case) -> Entry:
        loaded = load(case, listing)
        return writer.put(loaded, prepare_case(loaded, config.resolution, recipes, constants))

    # A patient's slices have rows of their own, so the threads write to the arrays without a lock.
    remaining = [case for case in listing.cases if case.id not in entries]
    for entry in in_parallel(prepare, remaining, trial.threads):
        entries[entry["patient"]] = entry
        if vanished := entry["volume"]["vanished"]:
            names, side = ", ".join(vanished), config.resolution
            log.warning("%s: %s vanished at %d pixels; raise data.resolution", entry["patient"], names, side)
        slices = sum(len(entry["areas"]) for entry in entries.values())
        yield Progress(step=len(entries), total=len(listing.cases), metrics={"slices": float(slices)})
        if trial.checkpoint_due() and len(entries) < len(listing.cases):
            trial.checkpoint(len(entries), lambda folder: writer.save(folder, list(entries.values())))
    ordered = [entries[case.id] for case in listing.cases]
    _require_as_planned(config, listing, ordered, trial)
    writer.finish(ordered, _cohort(config, listing, recipes, constants))


@dataclass(frozen=True, eq=False)
class PreparedCase:
    """One case as networks see it."""

    images: NDArray[np.float32]
    """(Z, C, R, R)"""
    masks: NDArray[np.uint8]
    """(Z, R, R), class indices, and ``IGNORED`` where the dataset has an ignored value."""
    planes: NDArray[np.uint8]
    """The same on the original grid, (Z, H, W)."""
    resize: Resize


def prepare_case(
    loaded: LoadedCase, side: int, recipes: Sequence[Intensity], constants: tuple[Constants, ...] | None = None
) -> PreparedCase:
    """Normalise, cut and fit one case into squares of ``side`` pixels.

    ``recipes`` are by modality, and so are ``constants`` for cohort scales.
    """
    planes = loaded.label_planes()
    resize = Resize.of(planes.shape[1], planes.shape[2], side)
    images = np.empty((len(planes), len(loaded.image), side, side), np.float32)
    for channel in range(len(loaded.image)):
        fitted = constants[channel] if constants else None
        images[:, channel] = resize.image(*intensity.normalise(loaded.image_planes(channel), recipes[channel], fitted))
    return PreparedCase(images, resize.labels(planes), planes, resize)


def hours(config: PrepareConfig) -> float:
    """CPU hours before any timing is known: 0.1 s per made-up patient, else five minutes for a cohort at 256 pixels."""
    if config.phantom is not None:
        return config.phantom.patients * 0.1 / 3600
    return 0.08 * (config.resolution / 256) ** 2


class SliceWriter:
    """images.npy, masks.npy and reference/ of a slice set, which are filled patient by patient in any order.

    The rows follow the order of ``listing``. With ``resume``, ``output`` holds the arrays of an earlier attempt.
    """

    def __init__(self, output: Path, listing: Listing, config: PrepareConfig, *, resume: bool) -> None:
        self._output, self._classes, self._ignores = output, listing.classes, listing.ignored_value is not None
        counts = [planes_of(case, listing).shape[0] for case in listing.cases]
        first = np.cumsum([0, *counts]).tolist()
        self._first = {case.id: row for case, row in zip(listing.cases, first[:-1], strict=True)}
        mode, plane = "r+" if resume else "w+", (config.resolution, config.resolution)
        shape = (first[-1], len(listing.modalities), *plane)
        self._images = open_memmap(output / "images.npy", mode, np.dtype(config.image_dtype), shape)
        self._masks = open_memmap(output / "masks.npy", mode, np.uint8, (first[-1], *plane))
        (output / "reference").mkdir(exist_ok=True)

    def put(self, loaded: LoadedCase, prepared: PreparedCase) -> Entry:
        """Write one patient to its own rows and say what was written."""
        patient, count = loaded.case.id, len(prepared.masks)
        first = self._first[patient]
        self._images[first : first + count] = prepared.images
        self._masks[first : first + count] = prepared.masks
        reference = self._output / "reference" / f"{patient}.npz"
        reference.parent.mkdir(exist_ok=True)
        np.savez_compressed(reference, labels=prepared.planes)
        labels = range(len(self._classes))
        areas = np.stack([np.count_nonzero(prepared.masks == label, axis=(1, 2)) for label in labels], 1)
        vanished = [label for label in labels if (prepared.planes == label).any() and not areas[:, label].any()]
        ignored = np.count_nonzero(prepared.masks == IGNORED, axis=(1, 2)).tolist() if self._ignores else None
        return {
            "patient": patient,
            "areas": areas.tolist(),
            **({} if ignored is None else {"ignored": ignored}),
            "hashes": [sha256_of(path) for path in loaded.case.files],
            "volume": {
                "first": first,
                "count": count,
                "spacing_mm": list(loaded.spacing_mm),
                "fit": asdict(prepared.resize),
                "affine": loaded.grid.canonical_affine.tolist(),
                "slice_axis": loaded.slice_axis,
                "stored": {
                    "shape": list(loaded.grid.shape),
                    "affine": loaded.grid.affine.tolist(),
                    "sform_code": loaded.grid.sform_code,
                    "qform_code": loaded.grid.qform_code,
                },
                "vanished": [self._classes[label] for label in vanished],
            },
        }

    def save(self, folder: Path, entries: Sequence[Entry]) -> None:
        """Write what ``entries`` name to the disk for good, and the entries into a checkpoint ``folder``."""
        self._images.flush()
        self._masks.flush()
        fsync_tree(self._output)
        (folder / ENTRIES).write_text(json.dumps(entries), encoding="utf-8")

    def finish(self, entries: Sequence[Entry], cohort: Mapping[str, Any]) -> None:
        """Write index.parquet and cohort.json."""
        self._images.flush()
        self._masks.flush()
        index = pd.concat([_index(entry, self._classes) for entry in entries], ignore_index=True)
        index.to_parquet(self._output / "index.parquet", index=False)
        volumes = {entry["patient"]: entry["volume"] for entry in entries}
        text = json.dumps({**cohort, "volumes": volumes}, indent=1)
        (self._output / COHORT_FILE).write_text(text + "\n", encoding="utf-8")


def _index(entry: Entry, classes: Sequence[str]) -> pd.DataFrame:
    """The rows of one patient, a row per slice."""
    areas, volume = np.asarray(entry["areas"], np.int64), entry["volume"]
    affines = pd.Series([np.asarray(volume["affine"]).ravel()] * len(areas), dtype=object)
    return pd.DataFrame(
        {"patient": entry["patient"], "slice": np.arange(len(areas)), "foreground": areas[:, 1:].sum(1)}
        | {f"area_{name}": areas[:, label] for label, name in enumerate(classes[1:], start=1)}
        | ({"ignored": entry["ignored"]} if "ignored" in entry else {})
        | dict(zip(("z_mm", "y_mm", "x_mm"), volume["spacing_mm"], strict=True))
        | {"affine": affines}
    )


def _constants(config: PrepareConfig, listing: Listing, trial: Trial) -> tuple[Constants, ...] | None:
    """Cohort constants by modality, from the fold's training patients and no other."""
    if listing.intensity.scale != "cohort":
        return None
    if config.fold is None:
        raise UserError("cohort intensities are fitted on a fold's training patients, and no fold is given")
    train = split([case.id for case in listing.cases], config.fold).train
    write_fitted_on(trial.output, train)

    def sampled(case: Case) -> list[intensity.Volume]:
        loaded = load(case, listing)
        return [intensity.sample(volume, loaded.classes) for volume in loaded.image]

    samples = list(in_parallel(sampled, [case for case in listing.cases if case.id in set(train)], trial.threads))
    by_modality = zip(listing.modalities, zip(*samples, strict=True), strict=True)
    return tuple(intensity.fit(of_patients, listing.intensity, name) for name, of_patients in by_modality)


def recipes_of(listing: Listing, inside: Sequence[Inside]) -> tuple[Intensity, ...]:
    """The recipe of each modality, with what was decided for the cohort put in."""
    if not inside:
        return (listing.intensity,) * len(listing.modalities)
    return tuple(listing.intensity.model_copy(update={"inside": choice}) for choice in inside)


def _recipes(config: PrepareConfig, listing: Listing, trial: Trial) -> tuple[Intensity, ...]:
    """``recipes_of`` what was decided when the sweep was planned; of a made-up cohort, what is decided now."""
    open_ = listing.intensity.scale == "z-score" and listing.intensity.inside == "auto"
    decided = config.inside or (check(listing, threads=trial.threads).inside if open_ else ())
    return recipes_of(listing, decided)


def _require_as_planned(config: PrepareConfig, listing: Listing, entries: list[Entry], trial: Trial) -> None:
    """Refuse to publish slices of other files than those that the sweep was planned with."""
    if config.phantom is not None:
        now, where = inspect_source(config, trial.scratch).fingerprint, f"the made-up cohort {config.dataset}"
    else:
        now = fingerprint(listing, {entry["patient"]: entry["hashes"] for entry in entries})
        where = str(config.root)
    if now != config.source:
        prints = f"fingerprint {now[:16]}, planned {config.source[:16]}"
        advice = "run the same command again, with --rehash if that does not help"
        raise UserError(f"{where} changed since the sweep was planned: {prints}; {advice}")


def _cohort(
    config: PrepareConfig, listing: Listing, recipes: Sequence[Intensity], constants: tuple[Constants, ...] | None
) -> dict[str, Any]:
    scales = dict(zip(listing.modalities, map(asdict, constants), strict=True)) if constants else None
    return {
        "dataset": config.dataset,
        "made_up": is_made_up(config),
        "modalities": listing.modalities,
        "classes": listing.classes,
        "values": {str(value): index for value, index in listing.values.items()},
        **({} if listing.ignored_value is None else {"ignored_value": listing.ignored_value}),
        "regions": listing.regions,
        "resolution": config.resolution,
        "slice_axis": listing.slice_axis,
        "intensity": listing.intensity.model_dump(mode="json"),
        "inside": {name: recipe.inside for name, recipe in zip(listing.modalities, recipes, strict=True)},
        "constants": scales,
        "choices": listing.choices,
        "warnings": [f"{note.case}: {note.what}" for note in listing.findings if note.severity == "warning"],
    }
