"""Pairs that lie in a folder as files: stacked arrays (npy, npz, zarr), pictures (PNG) or volumes (NIfTI), as they are.

Shapes: n samples, C modalities, H rows and W columns. The folder holds one of::

    pairs.npz                           images (n, C, H, W) and masks (n, H, W)
    pairs.zarr                          the same as arrays of a group of zarr
    images.npy, masks.npy               the same
    images/NAME.png, masks/NAME.png     a sample each
    images/NAME.nii.gz, masks/NAME...   (W, H) or (W, H, Z), a sample per plane

Of several modalities, images are ``NAME_0000``, ``NAME_0001``, ... in their order. Of one, arrays may lack C. Samples
come in the order of the names, those of a volume in the order of its planes.
"""

import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final, NamedTuple

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError
from numpy.typing import NDArray
from PIL import Image

from medsweep.errors import UserError

ARRAYS: Final = ("pairs.npz", "pairs.zarr", "images.npy", "images")
"""One of them holds the images."""
GREY: Final = ("L", "I;16", "I", "P", "1")
"""Modes of PNG files with one number per pixel."""


class PoolFolderError(UserError):
    """A folder of pairs that cannot be used."""


class RawPairs(NamedTuple):
    """Images (n, C, H, W) and masks (n, H, W) with the numbers of the files."""

    images: NDArray[Any]
    masks: NDArray[Any]


@dataclass(frozen=True)
class PairFiles:
    """The files of a folder, and how their samples are read."""

    files: tuple[Path, ...]
    """All of them, in an order that decides that of the samples."""
    samples: int
    read: Callable[[int, int], RawPairs]
    """Samples from the first number to before the second."""
    place: Callable[[int], str]
    """Where a sample stands, for people."""
    names: tuple[str, ...] = ()
    """Of the files, where these say which samples they hold, as those of chunks do."""


def find_pairs(folder: Path, modalities: int) -> PairFiles:
    """The pairs of a folder.

    Raises:
        PoolFolderError: there are none, they lie there in several forms, or a file is missing or cannot be read.
    """
    found = [name for name in ARRAYS if (folder / name).exists()]
    if len(found) != 1:
        seen = " and ".join(found) if found else "none of them"
        raise PoolFolderError(
            f"{folder} must hold one of pairs.npz, pairs.zarr, images.npy and images/, and holds {seen}"
        )
    if found == ["images"]:
        return _named(folder, modalities)
    path = folder / found[0]
    if path.suffix == ".zarr":
        return _in_zarr(path, modalities)
    files = (path,) if path.suffix == ".npz" else (path, folder / "masks.npy")
    _require(files)
    return _stacked(path, files, _both(path) if path.suffix == ".npz" else [_array(file) for file in files], modalities)


def _stacked(path: Path, files: tuple[Path, ...], arrays: Sequence[Any], modalities: int) -> PairFiles:
    """Arrays that give their parts as NumPy arrays; ``path`` stands for them in messages."""
    images, masks = arrays
    lacks_C = modalities == 1 and len(images.shape) == 3
    if len(images.shape) != 3 + (not lacks_C) or len(masks.shape) != 3 or images.shape[0] != masks.shape[0]:
        raise PoolFolderError(
            f"{path}: images must be (n, C, H, W) and masks (n, H, W), got {images.shape} and {masks.shape}"
        )
    for name, array in (("images", images), ("masks", masks)):
        # a chunk of text that is not text claims any number of signs, and memory for them is taken first
        if array.dtype.kind not in "biuf":
            raise PoolFolderError(f"{path}: {name} must be numbers, and are {array.dtype}; write them as numbers")

    def read(first: int, last: int) -> RawPairs:
        with _reading(path):
            some, of_them = np.asarray(images[first:last]), np.asarray(masks[first:last])
        return RawPairs(some[:, None] if lacks_C else some, of_them)

    return PairFiles(files, images.shape[0], read, lambda sample: f"{path} sample {sample}")


def _in_zarr(path: Path, modalities: int) -> PairFiles:
    try:
        import zarr
    except ImportError:
        raise PoolFolderError(f"{path}, which zarr reads: pip install 'medsweep[zarr]'") from None

    with _reading(path):
        group = zarr.open_group(path, mode="r")
        if lacking := {"images", "masks"} - set(group.array_keys()):
            raise PoolFolderError(f"{path} lacks the array {min(lacking)!r}; it has {sorted(group.array_keys())}")
        arrays = [group[name] for name in ("images", "masks")]
        parts, there = arrays[0].nchunks, arrays[0].nchunks_initialized
    # zarr reads a part that is not there as zeros, and writes none for masks that show nothing
    if there < parts:
        raise PoolFolderError(f"{path} has {there} of {parts} parts of 'images'; copy or write it again")
    files = tuple(sorted(each for each in path.rglob("*") if each.is_file()))
    pairs = _stacked(path, files, arrays, modalities)
    return replace(pairs, names=tuple(each.relative_to(path).as_posix() for each in files))


def _both(path: Path) -> tuple[NDArray[Any], NDArray[Any]]:
    with _reading(path), np.load(path, allow_pickle=False) as both:
        if lacking := {"images", "masks"} - set(both.files):
            raise PoolFolderError(f"{path} lacks the array {min(lacking)!r}; it has {sorted(both.files)}")
        return both["images"], both["masks"]


def _array(path: Path) -> NDArray[Any]:
    with _reading(path):
        array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
        return array


def _named(folder: Path, modalities: int) -> PairFiles:
    masks: dict[str, Path] = {}
    for path in sorted((folder / "masks").glob("*")):
        if _reader(path) is not None and (first := masks.setdefault(_stem(path), path)) != path:
            raise PoolFolderError(f"{first} and {path.name} are masks of one name; leave one of them")
    if not masks:
        raise PoolFolderError(f"{folder / 'masks'} holds no PNG or NIfTI file; each image needs its mask there")
    endings = [""] if modalities == 1 else [f"_{channel:04}" for channel in range(modalities)]
    images = {name: [_image(folder, name + ending, path) for ending in endings] for name, path in masks.items()}
    _require([path for paths in images.values() for path in paths])
    used = {path for paths in images.values() for path in paths}
    for path in sorted((folder / "images").glob("*")):
        if path not in used and _reader(path) is not None:
            raise PoolFolderError(f"{path} has no mask in {folder / 'masks'}, which goes by NAME with its ending")
    named = _NamedFiles(masks, images)
    files = tuple(path for name in masks for path in (*images[name], masks[name]))
    return PairFiles(files, len(named.places), named.read, named.place)


@dataclass
class _NamedFiles:
    """Samples by the names of their files; the one read last is held, since a volume has many."""

    masks: Mapping[str, Path]
    images: Mapping[str, Sequence[Path]]
    _held: tuple[str, RawPairs] | None = field(default=None, repr=False)

    @cached_property
    def places(self) -> list[tuple[str, int]]:
        """Name and plane of each sample."""
        return [(name, plane) for name, path in self.masks.items() for plane in range(len(_planes(path)))]

    def place(self, sample: int) -> str:
        name, plane = self.places[sample]
        return f"{self.masks[name]} plane {plane}"

    def read(self, first: int, last: int) -> RawPairs:
        samples = [
            RawPairs(images=pair.images[plane], masks=pair.masks[plane])
            for name, plane in self.places[first:last]
            for pair in (self._pair(name),)
        ]
        shapes = {(sample.images.shape[1:], sample.masks.shape) for sample in samples}
        if len(shapes) > 1 or any(image != mask for image, mask in shapes):
            where, sizes = self.place(first), sorted(shapes)
            raise PoolFolderError(f"{where} and what follows it differ in (image, mask) size: {sizes}; all must agree")
        return RawPairs(np.stack([sample.images for sample in samples]), np.stack([sample.masks for sample in samples]))

    def _pair(self, name: str) -> RawPairs:
        if self._held is None or self._held[0] != name:
            channels, mask = [_planes(path) for path in self.images[name]], _planes(self.masks[name])
            for path, planes in zip(self.images[name], channels, strict=True):
                if planes.shape != mask.shape:
                    raise PoolFolderError(
                        f"{path} has (planes, rows, columns) {planes.shape}, its mask has {mask.shape}; they must agree"
                    )
            self._held = name, RawPairs(np.stack(channels, axis=1), mask)
        return self._held[1]


def _planes(path: Path) -> NDArray[Any]:
    """The planes of a file, (Z, H, W)."""
    reader = _reader(path)
    assert reader is not None
    with _reading(path):
        return reader(path)


def _png(path: Path) -> NDArray[Any]:
    with Image.open(path) as picture:
        if picture.mode not in GREY:
            raise PoolFolderError(f"{path} is a picture of mode {picture.mode}; it must be grey, one number per pixel")
        return np.array(picture)[None]


def _nifti(path: Path) -> NDArray[Any]:
    """Columns run along the first axis, rows along the second, once the axes ascend as the affine tells."""
    image: Any = nib.load(path)
    if len(image.shape) == 2:
        image = nib.Nifti1Image(np.asanyarray(image.dataobj)[..., None], image.affine)
    if len(image.shape) != 3:
        raise PoolFolderError(f"{path} has shape {image.shape}; it must be (W, H) or (W, H, Z)")
    canonical: Any = nib.as_closest_canonical(image)
    planes: NDArray[Any] = np.asanyarray(canonical.dataobj).transpose(2, 1, 0)
    return planes


READERS: Final[Mapping[str, Callable[[Path], NDArray[Any]]]] = {".png": _png, ".nii.gz": _nifti, ".nii": _nifti}


def _reader(path: Path) -> Callable[[Path], NDArray[Any]] | None:
    return next((read for ending, read in READERS.items() if path.name.lower().endswith(ending)), None)


def _stem(path: Path) -> str:
    ending = next(ending for ending in READERS if path.name.lower().endswith(ending))
    return path.name[: -len(ending)]


def _image(folder: Path, stem: str, mask: Path) -> Path:
    """The image of this name, which need not have the ending of its mask."""
    same = folder / "images" / (stem + mask.name[len(_stem(mask)) :])
    others = (folder / "images" / (stem + ending) for ending in READERS)
    return next((path for path in (same, *others) if path.is_file()), same)


def _require(files: Sequence[Path]) -> None:
    if missing := next((file for file in files if not file.is_file()), None):
        raise PoolFolderError(f"there is no file {missing}, which the other files of the pool ask for")


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except PoolFolderError:
        raise
    except (OSError, ValueError, EOFError, KeyError, RuntimeError, zipfile.BadZipFile, ImageFileError) as error:
        raise PoolFolderError(f"{path} cannot be read: {error}; write it again") from None
