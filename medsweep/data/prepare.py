"""The prepare stage: volumes of a dataset in, normalised slices as memory maps out (see ``medsweep.data.slices``).

Patients are read in parallel, each by one thread that holds one patient at a time. A run that was cut short goes on
after the patients of its last checkpoint and ends with the same bytes.
"""

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from medsweep.data import intensity
from medsweep.data.config import PrepareConfig
from medsweep.data.fit import Fit
from medsweep.data.folds import split
from medsweep.data.intensity import Constants
from medsweep.data.inventory import files_of, fingerprint, inspect_source, made_up, open_listing
from medsweep.data.parallel import in_parallel
from medsweep.data.provenance import write_fitted_on
from medsweep.data.spec import Case, Intensity, Listing
from medsweep.data.volumes import Loaded, load, slice_count
from medsweep.data.writer import Entry, Fitted, SliceWriter, kept_entries
from medsweep.errors import UserError
from medsweep.files import sha256_of
from medsweep.trial import Progress, Trial

log = logging.getLogger(__name__)


def run(config: PrepareConfig, inputs: Mapping[str, Path], trial: Trial) -> Iterator[Progress]:
    """Write the slice set of ``config`` under ``trial.output``; one report per patient.

    Raises:
        UserError: the files changed since ``config.source`` was taken, or a volume is refused.
    """
    listing = open_listing(config, trial.scratch)
    constants = _constants(config, listing, trial)
    found = trial.restore()
    entries = {entry["patient"]: entry for entry in kept_entries(found[1])} if found else {}
    writer = _writer(config, listing, trial, resume=found is not None)

    def prepare(case: Case) -> Entry:
        loaded = load(case, listing)
        fitted = fit_case(loaded, config.resolution, listing.intensity, constants)
        return writer.put(loaded, fitted, listing.classes, [sha256_of(path) for path in files_of(case)])

    todo = [case for case in listing.cases if case.id not in entries]
    for entry in in_parallel(prepare, todo, trial.threads):
        entries[entry["patient"]] = entry
        _tell_vanished(entry, config)
        slices = sum(len(entry["areas"]) for entry in entries.values())
        yield Progress(step=len(entries), total=len(listing.cases), metrics={"slices": float(slices)})
        if trial.checkpoint_due() and len(entries) < len(listing.cases):
            trial.checkpoint(len(entries), lambda folder: writer.keep(folder, list(entries.values())))
    ordered = [entries[case.id] for case in listing.cases]
    _require_as_planned(config, listing, ordered, trial)
    writer.finish(ordered, listing.classes, _cohort(config, listing, constants))


def fit_case(loaded: Loaded, side: int, recipe: Intensity, constants: tuple[Constants, ...] | None = None) -> Fitted:
    """Normalise, cut and fit one case into squares of ``side`` pixels; ``constants`` by modality for cohort scales."""
    planes = loaded.label_planes()
    fit = Fit.of(planes.shape[1], planes.shape[2], side)
    images = np.empty((len(planes), len(loaded.image), side, side), np.float32)
    for channel in range(len(loaded.image)):
        scaled = intensity.normalise(loaded.image_planes(channel), recipe, constants[channel] if constants else None)
        images[:, channel] = fit.image(scaled.volume, scaled.outside)
    return Fitted(images, fit.labels(planes), planes, fit)


def hours(config: PrepareConfig) -> float:
    """CPU hours before any timing is known: 0.1 s per made-up patient, else five minutes for a cohort at 256 pixels."""
    if config.phantom is not None:
        return config.phantom.patients * 0.1 / 3600
    return 0.08 * (config.resolution / 256) ** 2


def _constants(config: PrepareConfig, listing: Listing, trial: Trial) -> tuple[Constants, ...] | None:
    """Cohort constants by modality, from the fold's training patients and no other."""
    if listing.intensity.scale != "cohort":
        return None
    if config.fold is None:
        raise UserError("cohort intensities are fitted on a fold's training patients, and no fold is given")
    train = split([case.id for case in listing.cases], config.fold).train
    write_fitted_on(trial.output, train)

    def sampled(case: Case) -> list[intensity.Floats]:
        loaded = load(case, listing)
        return [intensity.sample(volume, loaded.labels) for volume in loaded.image]

    chosen = [case for case in listing.cases if case.id in set(train)]
    samples = list(in_parallel(sampled, chosen, trial.threads))
    return tuple(
        intensity.fit([sample[channel] for sample in samples], listing.intensity, name)
        for channel, name in enumerate(listing.modalities)
    )


def _writer(config: PrepareConfig, listing: Listing, trial: Trial, *, resume: bool) -> SliceWriter:
    counts = {case.id: slice_count(case, listing) for case in listing.cases}
    channels, dtype = len(listing.modalities), config.image_dtype
    return SliceWriter(trial.output, counts, channels, config.resolution, dtype, resume=resume)


def _tell_vanished(entry: Entry, config: PrepareConfig) -> None:
    if lost := entry["volume"]["vanished"]:
        names, side = ", ".join(lost), config.resolution
        log.warning("%s: %s vanished at %d pixels; raise data.resolution", entry["patient"], names, side)


def _require_as_planned(config: PrepareConfig, listing: Listing, entries: list[Entry], trial: Trial) -> None:
    """Refuse to publish slices of other files than those that the sweep was planned with."""
    if config.phantom is not None:
        found, where = inspect_source(config, trial.scratch).fingerprint, f"the made-up cohort {config.dataset}"
    else:
        found = fingerprint(listing, {entry["patient"]: entry["hashes"] for entry in entries})
        where = str(config.root)
    if found != config.source:
        raise UserError(
            f"{where} changed since the sweep was planned: "
            f"fingerprint {found[:16]}, planned {config.source[:16]}; plan again"
        )


def _cohort(config: PrepareConfig, listing: Listing, constants: tuple[Constants, ...] | None) -> dict[str, Any]:
    warnings = [f"{found.case}: {found.what}" for found in listing.findings if found.level == "warning"]
    return {
        "dataset": config.dataset,
        "made_up": made_up(config),
        "modalities": listing.modalities,
        "classes": listing.classes,
        "values": {str(value): index for value, index in listing.values.items()},
        "regions": listing.regions,
        "resolution": config.resolution,
        "slice_axis": listing.slice_axis,
        "intensity": listing.intensity.model_dump(mode="json"),
        "constants": intensity.described(dict(zip(listing.modalities, constants, strict=True))) if constants else None,
        "choices": listing.choices,
        "warnings": warnings,
    }
