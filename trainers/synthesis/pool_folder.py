"""A pool that was made elsewhere: what its ``pool.yaml`` says, and its pairs as medsweep would have made them.

``pool.yaml`` beside the files of ``medsweep.trainers.synthesis.pair_files``::

    modalities: [T1, T2]
    classes: {background: 0, anterior: 1, posterior: 2}     # values of the masks
    scale: prepared                                         # or {stored: [0, 255], prepared: [-2, 5]}
    fitted_on: ../fold.json                                 # or ids, or {file: splits.json, fold: 0}, or unknown
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator, Field, field_validator, model_validator

from medsweep.config import Config
from medsweep.data.folds import patient_of
from medsweep.data.intensity import CLIP
from medsweep.data.scaling import FLAT
from medsweep.data.splits import read_splits
from medsweep.errors import nearest
from medsweep.files import sha256_of
from medsweep.identity import canonical
from medsweep.trainers.synthesis.pair_files import PairFiles, PoolFolderError, find_pairs
from medsweep.validation import parse
from medsweep.yamlfile import read_text, read_yaml

NAME: Final = "pool.yaml"
UNKNOWN: Final = "unknown"
BATCH: Final = 16
MOST_OUTSIDE: Final = 0.01
"""Share of pixels that may lie outside the range of prepared slices; these are cut off."""
OVERSHOOT: Final = 1.1
"""A generator may pass the range by a tenth before a pixel counts as outside."""

Pair = Annotated[tuple[float, float], Field(strict=False)]


class LinearScale(Config):
    """Two stored values, and what they are on the scale of prepared slices; what lies between is linear."""

    stored: Pair
    prepared: Pair

    @model_validator(mode="after")
    def _ascend(self) -> "LinearScale":
        for name, (low, high) in (("stored", self.stored), ("prepared", self.prepared)):
            if low >= high:
                raise ValueError(f"{name} must be two ascending numbers, got [{low:g}, {high:g}]")
        return self

    def apply(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Stored values on the scale of prepared slices."""
        (low, high), (bottom, top) = self.stored, self.prepared
        scaled: NDArray[np.float32] = (images - np.float32(low)) * np.float32((top - bottom) / (high - low))
        return scaled + np.float32(bottom)


class FoldOfFile(Config):
    """The training group of a fold of a split file, beside ``pool.yaml``."""

    file: str
    fold: int = Field(ge=0)


def _scale(value: object) -> object:
    if value == "prepared":
        return {"stored": (0, 1), "prepared": (0, 1)}
    if isinstance(value, dict | LinearScale):
        return value
    raise ValueError("prepared, or {stored: [0, 255], prepared: [-2, 5]}")


def _fitted_on(value: object) -> object:
    if value is None or isinstance(value, str | dict | FoldOfFile):
        return value
    if isinstance(value, list | tuple) and all(isinstance(name, str) for name in value):
        return tuple(value)
    raise ValueError("a list of ids, a fold file, {file: splits.json, fold: 0}, or unknown; ids stand in quotes")


class PoolDescription(Config):
    """``pool.yaml``: what the pairs of a folder are."""

    modalities: tuple[str, ...] = Field(min_length=1)
    """The channels of the images, in their order."""
    classes: dict[str, int]
    """Value in the masks by name of the class, with the background."""
    scale: Annotated[LinearScale, BeforeValidator(_scale)]
    """``prepared``: the numbers are those of the slices that ``medsweep data export-fold`` writes."""
    fitted_on: Annotated[tuple[str, ...] | FoldOfFile | str | None, BeforeValidator(_fitted_on)] = None
    """Whom the generator learned from. An empty list: from nobody of this dataset."""

    @field_validator("classes")
    @classmethod
    def _values_differ(cls, classes: dict[str, int]) -> dict[str, int]:
        if len(set(classes.values())) < len(classes):
            raise ValueError("two classes have the same value in the masks; give each its own")
        return classes


@dataclass(frozen=True)
class RequiredPairs:
    """What the pairs of a pool must fit: the prepared slices of a sweep."""

    resolution: int
    """Side of a slice in pixels."""
    modalities: tuple[str, ...]
    classes: tuple[str, ...]
    """By index; the first is the background."""
    limit: float = CLIP
    """Prepared slices lie within plus and minus this."""


@dataclass(frozen=True)
class PoolFolder:
    """A folder of pairs that fit ``target``."""

    folder: Path
    description: PoolDescription
    target: RequiredPairs
    pairs: PairFiles

    @classmethod
    def open(cls, folder: Path, target: RequiredPairs) -> "PoolFolder":
        """Read ``pool.yaml`` and find the files; no image is read.

        Raises:
            PoolFolderError, UserError: naming the file and what is wrong with it.
        """
        if not folder.is_dir():
            raise PoolFolderError(f"there is no folder {folder}; synthesise.folder names a folder with {NAME}")
        yaml = read_yaml(folder / NAME, "pool")
        description = parse(PoolDescription, yaml.data, yaml)
        for key, given, needed in (
            ("modalities", description.modalities, target.modalities),
            ("classes", tuple(description.classes), target.classes),
        ):
            if stranger := next((name for name in given if name not in needed), None):
                raise yaml.error(
                    (key,), f"{key} names {stranger!r}, which the dataset lacks; {nearest(stranger, needed)}"
                )
            if lacking := next((name for name in needed if name not in given), None):
                raise yaml.error((key,), f"{key} lacks {lacking!r} of the dataset, which has {', '.join(needed)}")
            if len(set(given)) < len(given):
                raise yaml.error((key,), f"{key} names one twice: {', '.join(given)}")
        if description.fitted_on is None:
            text = f"fitted_on is missing; name the patients that the generator learned from, a fold file, or {UNKNOWN}"
            raise yaml.error((), text)
        pairs = find_pairs(folder, len(target.modalities))
        if pairs.samples == 0:
            raise PoolFolderError(f"{folder} holds no sample; write at least one pair into it")
        return cls(folder, description, target, pairs)

    @property
    def files(self) -> tuple[Path, ...]:
        """All files and folders that decide the pairs and whom they were learned from."""
        fitted = self.description.fitted_on
        named = fitted.file if isinstance(fitted, FoldOfFile) else fitted
        folders = {self.folder, *(path.parent for path in self.pairs.files)}
        fold_file = (self.folder / named,) if isinstance(named, str) and named != UNKNOWN else ()
        return (*sorted(folders), self.folder / NAME, *self.pairs.files, *fold_file)

    def content(self) -> str:
        """sha256 over all that decides the pairs, wherever they lie and whatever they are called."""
        said = self.description.model_copy(update={"fitted_on": None})
        named = {"names": self.pairs.names} if self.pairs.names else {}
        text = canonical({"said": said, "files": [sha256_of(path) for path in self.pairs.files]} | named)
        return hashlib.sha256(text.encode()).hexdigest()

    def fitted_on(self, patients: Sequence[str]) -> tuple[str, ...] | None:
        """The cases among ``patients`` that the generator learned from, sorted; None where that is not known.

        Raises:
            PoolFolderError: a name is no patient, or the fold file cannot be used.
        """
        said, where = self.description.fitted_on, f"{self.folder / NAME}: fitted_on"
        if said == UNKNOWN:
            return None
        if isinstance(said, FoldOfFile):
            folds = read_splits(self.folder / said.file, patients)
            if said.fold >= len(folds):
                raise PoolFolderError(f"{where}: {said.file} has {len(folds)} folds, from 0 on, and no {said.fold}")
            return folds[said.fold].train
        names = _exported(self.folder / said) if isinstance(said, str) else said
        found: set[str] = set()
        for name in names or ():
            meant = {case for case in patients if name and name in (case, patient_of(case), case.partition("/")[2])}
            if not meant:
                raise PoolFolderError(f"{where} names {name!r}, which is no patient; {nearest(name, patients)}")
            found |= meant
        return tuple(sorted(found))

    def read(self, first: int, last: int) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        """Images (n, C, R, R) on the scale of prepared slices, and masks (n, R, R) by class.

        Raises:
            PoolFolderError: sizes, values of masks or numbers do not fit.
        """
        raw, side, names = self.pairs.read(first, last), self.target.resolution, self.target.modalities
        where = self.pairs.place(first)
        if raw.images.shape[1:] != (len(names), side, side) or raw.masks.shape[1:] != (side, side):
            raise PoolFolderError(
                f"{where}: image (C, H, W) and mask (H, W) must be {(len(names), side, side)} and {(side, side)}, "
                f"got {raw.images.shape[1:]} and {raw.masks.shape[1:]}"
            )
        if raw.images.dtype.kind not in "uif" or raw.masks.dtype.kind not in "uifb":
            raise PoolFolderError(f"{where}: {raw.images.dtype} and {raw.masks.dtype} are no plain numbers")
        order = [self.description.modalities.index(name) for name in names]
        images = raw.images[:, order].astype(np.float32)
        if not np.isfinite(images).all():
            raise PoolFolderError(f"{where} or what follows it holds NaN or infinity; make these images again")
        return self.description.scale.apply(images), self._labels(raw.masks, where)

    def _labels(self, masks: NDArray[Any], where: str) -> NDArray[np.uint8]:
        labels, known = np.zeros(masks.shape, np.uint8), np.zeros(masks.shape, bool)
        for index, name in enumerate(self.target.classes):
            here = masks == self.description.classes[name]
            labels[here], known = index, known | here
        if not known.all():
            values = ", ".join(f"{name} {value}" for name, value in self.description.classes.items())
            odd = masks[~known].ravel()[0]
            raise PoolFolderError(f"{where} or what follows it has a mask value {odd:g} of no class; known: {values}")
        return labels

    def check(self) -> None:
        """Look at every pixel.

        Raises:
            PoolFolderError: as ``read``; or the numbers are not on the scale of prepared slices.
        """
        outside, pixels, total, squares, low, high = 0, 0, 0.0, 0.0, np.inf, -np.inf
        for images, _ in self.batches():
            outside += int((np.abs(images) > OVERSHOOT * self.target.limit).sum())
            pixels, total = pixels + images.size, total + float(images.sum(dtype=np.float64))
            squares += float(np.square(images, dtype=np.float64).sum())
            low, high = min(low, float(images.min())), max(high, float(images.max()))
        where, limit = f"{self.folder / NAME}: scale", self.target.limit
        if outside > MOST_OUTSIDE * pixels:
            raise PoolFolderError(
                f"{where}: {outside / pixels:.0%} of the pixels lie outside {-limit:g} to {limit:g}, where prepared "
                f"slices lie; they go from {low:g} to {high:g}: give scale: {{stored: [a, b], prepared: [c, d]}}"
            )
        if squares / pixels - (total / pixels) ** 2 < FLAT**2:
            raise PoolFolderError(
                f"{where}: the images are almost constant, from {low:g} to {high:g}; give their scale"
            )

    def batches(self, samples: int | None = None) -> Iterator[tuple[NDArray[np.float32], NDArray[np.uint8]]]:
        """The first ``samples`` pairs, all where None, ``BATCH`` at a time, as ``read``."""
        last = self.pairs.samples if samples is None else samples
        for first in range(0, last, BATCH):
            yield self.read(first, min(first + BATCH, last))


def _exported(path: Path) -> tuple[str, ...]:
    """The ids of a fold file that ``medsweep data export-fold`` wrote: ``{"train": [...]}``."""
    try:
        content = json.loads(read_text(path, "fold", "*.json"))
    except json.JSONDecodeError as error:
        raise PoolFolderError(f"{path}:{error.lineno}: not valid JSON: {error.msg}") from None
    ids = content.get("train") if isinstance(content, dict) else None
    if not isinstance(ids, list) or not all(isinstance(name, str) for name in ids):
        text = 'must hold {"train": [ids]}; of a file of several folds, name one: {file: splits.json, fold: 0}'
        raise PoolFolderError(f"{path} {text}")
    return tuple(ids)
