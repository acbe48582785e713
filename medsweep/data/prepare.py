"""The prepare stage: volumes of a dataset in, normalised slices as memory maps out (see ``medsweep.data.slices``).

Volumes are streamed one at a time. A run that was cut short starts over and ends with the same bytes.
"""

import hashlib
import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
from numpy.lib.format import open_memmap
from numpy.typing import NDArray
from pydantic import Field, model_validator

from medsweep.config import NOT_IDENTITY, Config
from medsweep.data import decathlon, nifti
from medsweep.data.fit import Fit
from medsweep.data.hashes import HashCache
from medsweep.data.phantom import PHANTOM_VERSION, PhantomConfig, patient_ids, write_phantom
from medsweep.errors import UserError
from medsweep.identity import canonical
from medsweep.trial import Progress, Trial

log = logging.getLogger(__name__)

SLICE_AXIS = 2
"""Slices are cut along the last canonical axis, from the feet upwards."""

CLIP = 5.0
"""Normalised intensities are cut off at this many SD."""

ZERO_BACKGROUND = 0.05
"""From this share of exact zeros on, zero means "outside" rather than a measured value."""


class DataConfig(Config):
    """The ``data`` section of a sweep: which dataset, where, and at which resolution."""

    dataset: str = Field(min_length=1)
    """``phantom``, or a name for the Decathlon-layout folder ``root``."""
    root: Annotated[str | None, NOT_IDENTITY] = None
    """Folder with dataset.json; where the files lie is not what they are, so their content is hashed instead."""
    phantom: PhantomConfig | None = None
    resolution: int = Field(default=256, ge=8, le=1024, multiple_of=8)
    """Side of the square slices in pixels."""

    @model_validator(mode="before")
    @classmethod
    def _default_phantom(cls, given: Any) -> Any:
        if isinstance(given, dict) and given.get("dataset") == "phantom" and given.get("phantom") is None:
            return {**given, "phantom": PhantomConfig()}
        return given

    @model_validator(mode="after")
    def _root_or_phantom(self) -> "DataConfig":
        if self.dataset == "phantom" and self.root is not None:
            raise ValueError(f"dataset 'phantom' is made, not read; remove data.root ({self.root!r})")
        if self.dataset != "phantom" and self.root is None:
            raise ValueError(
                f"dataset {self.dataset!r} needs data.root, {decathlon.EXPECTED}; only 'phantom' is made without files"
            )
        if self.dataset != "phantom" and self.phantom is not None:
            raise ValueError(f"data.phantom has no meaning for dataset {self.dataset!r}; remove it")
        return self


class PrepareConfig(DataConfig):
    """``DataConfig`` plus what the source held when the sweep was planned."""

    source: str = Field(pattern=r"^[0-9a-f]{64}$")
    """``Source.fingerprint``."""


@dataclass(frozen=True)
class Source:
    """What a dataset consists of, known before anything is prepared."""

    fingerprint: str
    """sha256 over everything that decides the slices: modalities, classes, ids and content of all files."""
    patients: tuple[str, ...]


def inspect_source(config: DataConfig, cache_folder: Path) -> Source:
    """Check that the dataset is whole and hash it; hashes are cached in ``cache_folder/source-hashes.json``.

    Raises:
        UserError: the folder or a listed file is missing, or dataset.json cannot be used.
    """
    if config.phantom is not None:
        content: Any = {"phantom": config.phantom, "version": PHANTOM_VERSION}
        return Source(_sha256(content), patient_ids(config.phantom))
    layout = decathlon.cases(Path(str(config.root)))
    cache = HashCache(cache_folder)
    pairs = [[case.id, cache.sha256(case.image), cache.sha256(case.label)] for case in layout.cases]
    cache.save()
    content = {"modalities": layout.modalities, "classes": layout.classes, "pairs": pairs}
    return Source(_sha256(content), tuple(case.id for case in layout.cases))


def run(config: PrepareConfig, inputs: Mapping[str, Path], trial: Trial) -> Iterator[Progress]:
    """Write the slice set of ``config`` under ``trial.output``; one report per patient.

    Raises:
        UserError: the files changed since ``config.source`` was taken, or a volume is refused.
    """
    layout = _checked_layout(config, trial)
    images, masks = _memory_maps(layout, config.resolution, trial.output)
    (trial.output / "reference").mkdir(exist_ok=True)
    volumes: dict[str, dict[str, Any]] = {}
    rows: list[pd.DataFrame] = []
    first = 0
    for case in layout.cases:
        image, label = _pair(case, layout)
        planes = nifti.to_planes(label.array, SLICE_AXIS)
        fit = Fit.of(planes.shape[1], planes.shape[2], config.resolution)
        here = slice(first, first + len(planes))
        for channel, voxels in enumerate(image.array):
            images[here, channel] = fit.image(nifti.to_planes(normalise(voxels), SLICE_AXIS))
        masks[here] = fit.labels(planes)
        np.save(trial.output / "reference" / f"{case.id}.npy", np.ascontiguousarray(planes), allow_pickle=False)
        lost = _vanished(case.id, planes, masks[here], layout.classes)
        volumes[case.id] = _geometry(label, fit, first, len(planes)) | {"vanished": lost}
        rows.append(_index(case.id, masks[here]))
        first += len(planes)
        yield Progress(step=len(rows), total=len(layout.cases), metrics={"slices": float(first)})
    images.flush()
    masks.flush()
    pd.concat(rows, ignore_index=True).to_parquet(trial.output / "index.parquet", index=False)
    _write_cohort(trial.output, config, layout, volumes)


def hours(config: PrepareConfig) -> float:
    """CPU hours before any timing is known: 0.1 s per phantom, else five minutes for a cohort at 256 pixels."""
    if config.phantom is not None:
        return config.phantom.patients * 0.1 / 3600
    return 0.08 * (config.resolution / 256) ** 2


def normalise(volume: NDArray[np.float32]) -> NDArray[np.float32]:
    """z-score of one modality of one volume, any shape, cut off at +-5 SD.

    Where at least 5 % of the voxels are exactly 0 the volume counts as masked: mean and SD are those of the other
    voxels and zeros stay 0. Otherwise all voxels count; negative values (HU, bias correction) are kept either way.
    A constant volume gives zeros.
    """
    inside = volume != 0
    if np.count_nonzero(inside) > (1 - ZERO_BACKGROUND) * volume.size:
        inside[...] = True
    if volume.min(where=inside, initial=np.inf) >= volume.max(where=inside, initial=-np.inf):
        return np.zeros_like(volume)
    centred = volume - np.float32(volume.mean(where=inside, dtype=np.float64))
    sd = np.sqrt(np.square(centred).mean(where=inside, dtype=np.float64))
    return np.where(inside, np.clip(centred / np.float32(sd), -CLIP, CLIP), np.float32(0))


def _sha256(content: object) -> str:
    return hashlib.sha256(canonical(content).encode()).hexdigest()


def _checked_layout(config: PrepareConfig, trial: Trial) -> decathlon.Layout:
    """The layout of the very files that were planned with; a phantom cohort is written to scratch first."""
    found = inspect_source(config, trial.scratch).fingerprint
    if found != config.source:
        where = config.root if config.root is not None else f"the phantom (version {PHANTOM_VERSION})"
        raise UserError(
            f"{where} changed since the sweep was planned: "
            f"fingerprint {found[:16]}, planned {config.source[:16]}; plan again"
        )
    if config.phantom is None:
        return decathlon.cases(Path(str(config.root)))
    root = trial.scratch / "phantom"
    write_phantom(config.phantom, root)
    return decathlon.cases(root)


def _memory_maps(layout: decathlon.Layout, side: int, output: Path) -> tuple[np.memmap[Any, Any], np.memmap[Any, Any]]:
    """New images.npy and masks.npy, as long as the headers say."""
    shapes = [nifti.read_shape(case.image, len(layout.modalities)) for case in layout.cases]
    count = sum(shape[SLICE_AXIS] for shape in shapes)
    images = open_memmap(output / "images.npy", "w+", np.float32, (count, len(layout.modalities), side, side))
    return images, open_memmap(output / "masks.npy", "w+", np.uint8, (count, side, side))


def _pair(case: decathlon.Case, layout: decathlon.Layout) -> tuple[nifti.Scan, nifti.Scan]:
    image = nifti.read_image(case.image, len(layout.modalities))
    label = nifti.read_labels(case.label, layout.classes)
    nifti.check_pair(image, label)
    return image, label


def _vanished(
    patient: str, planes: NDArray[np.uint8], fitted: NDArray[np.uint8], classes: tuple[str, ...]
) -> list[str]:
    """Names of classes that shrinking lost altogether; told and recorded, since it bounds what a model can reach."""
    lost = [name for value, name in enumerate(classes) if (planes == value).any() and not (fitted == value).any()]
    if lost:
        log.warning("%s: %s vanished at %d pixels; raise data.resolution", patient, ", ".join(lost), fitted.shape[-1])
    return lost


def _geometry(label: nifti.Scan, fit: Fit, first: int, count: int) -> dict[str, Any]:
    spacing = label.spacing_mm
    rows, columns = sorted({0, 1, 2} - {SLICE_AXIS}, reverse=True)
    return {
        "first": first,
        "count": count,
        "spacing_mm": [spacing[SLICE_AXIS], spacing[rows], spacing[columns]],
        "fit": asdict(fit),
        "affine": label.affine.tolist(),
        "slice_axis": SLICE_AXIS,
    }


def _index(patient: str, masks: NDArray[np.uint8]) -> pd.DataFrame:
    foreground = np.count_nonzero(masks, axis=(1, 2))
    return pd.DataFrame({"patient": patient, "slice": np.arange(len(masks)), "foreground": foreground})


def _write_cohort(
    output: Path, config: PrepareConfig, layout: decathlon.Layout, volumes: dict[str, dict[str, Any]]
) -> None:
    cohort = {
        "dataset": config.dataset,
        "modalities": layout.modalities,
        "classes": layout.classes,
        "resolution": config.resolution,
        "volumes": volumes,
    }
    (output / "cohort.json").write_text(json.dumps(cohort, indent=1) + "\n", encoding="utf-8")
