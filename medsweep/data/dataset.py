"""What a dataset is: what its owners say of it, and the cases, channels, classes and intensities found in a folder."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from pydantic import model_validator

from medsweep.config import Config
from medsweep.errors import UserError

SliceAxis = Literal["axial", "coronal", "sagittal", "first", "second", "third"]
"""Axis along which slices are cut: by anatomy, from the affine, or by place among the stored array's axes."""

Mirrored = Literal["left-right"]
"""How a picture may be mirrored and still be one of the dataset."""

Inside = Literal["nonzero", "all"]
"""Voxels that a z-score looks at."""

Severity = Literal["error", "warning", "note"]
"""In the order in which findings are shown."""

LISTED_ERRORS = 10
"""Errors that a refusal of a dataset tells one by one."""


class Intensity(Config):
    """How stored values become network inputs, for each modality of each volume."""

    scale: Literal["z-score", "window", "cohort"] = "z-score"
    """``z-score``: mean and SD of the volume itself; ``window``: cut off at ``window`` and mapped to [-1, 1];
    ``cohort``: cut off at ``percentiles`` and z-scored by mean and SD of the labelled voxels of the fold's training
    patients (the CT scheme of nnU-Net, Isensee et al. 2021, DOI 10.1038/s41592-020-01008-z)."""
    window: tuple[float, float] | None = None
    """Lowest and highest value kept, in the image's own unit (HU in CT)."""
    percentiles: tuple[float, float] | None = None
    """Cut-offs in per cent, of the voxels that ``scale`` looks at; None cuts nothing off before scaling."""
    inside: Literal["auto", "nonzero", "all"] = "auto"
    """Voxels that a z-score looks at; ``nonzero`` leaves exact zeros at 0; ``auto`` is decided once for all cases of a
    modality: ``nonzero`` where at least 5 % of more than half of the volumes are exactly 0, else ``all``."""

    @model_validator(mode="after")
    def _window_where_it_is_read(self) -> "Intensity":
        if (self.scale == "window") != (self.window is not None):
            raise ValueError(f"intensity scale {self.scale!r} with window {self.window}; a window goes with 'window'")
        if self.window is not None and not self.window[0] < self.window[1]:
            raise ValueError(f"an intensity window must rise, got {self.window}")
        if self.scale == "cohort" and self.percentiles is None:
            raise ValueError("intensity scale 'cohort' needs percentiles, for example [0.5, 99.5]")
        if self.percentiles is not None:
            low, high = self.percentiles
            if not 0 <= low < high <= 100:
                raise ValueError(f"intensity percentiles must rise within 0 to 100, got {self.percentiles}")
            if self.scale == "window":
                raise ValueError("intensity percentiles have no meaning with a window; remove one of them")
        return self


@dataclass(frozen=True)
class Finding:
    """Something a reader of the data should know. An ``error`` keeps its case from being used."""

    severity: Severity
    case: str
    """Id of the case, or ``-`` for the dataset as a whole."""
    file: str
    """File or folder it is about, as a path."""
    what: str
    """One clause with the value seen."""


@dataclass(frozen=True)
class Case:
    """One labelled patient."""

    id: str
    images: tuple[Path, ...]
    """A file per modality in channel order; a single 4D file where the listing is ``stacked``."""
    label: Path
    """The label file; of several, the first, on whose grid a prediction is written."""
    structures: tuple[Path, ...] = ()
    """A mask file per class, in the order of the classes, where there is no file with all of them."""
    attached: tuple[Path, ...] = ()
    """Files with the voxels of those above, where these have a head alone (.mhd, .nhdr)."""

    @property
    def files(self) -> tuple[Path, ...]:
        """All files, images in channel order, then the labels, then what is attached."""
        return (*self.images, *(self.structures or (self.label,)), *self.attached)


@dataclass(frozen=True, kw_only=True)
class DatasetFormat:
    """What the voxels of a dataset mean, and how slices are cut from it."""

    name: str
    """Name of the dataset in sweeps and tables."""
    modalities: tuple[str, ...]
    """Channel order of everything that is prepared; empty where the user's description states it."""
    classes: tuple[str, ...]
    """Names by class index; 0 is the background. Empty where the user's description states them."""
    values: Mapping[int, int]
    """Class index by stored label value."""
    regions: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Unions of classes that are scored beside the classes, by name."""
    slice_axis: SliceAxis = "axial"
    intensity: Intensity = field(default_factory=Intensity)
    mirrored: Mirrored | None = None
    """``left-right`` where neither the anatomy nor a class tells left from right."""

    def format_fields(self) -> dict[str, Any]:
        """The fields of the format alone, for a ``Listing`` of a dataset that is known."""
        return {entry.name: getattr(self, entry.name) for entry in fields(DatasetFormat)}


@dataclass(frozen=True, kw_only=True)
class Listing(DatasetFormat):
    """All labelled cases of a folder and how they are to be read; what every layout returns."""

    cases: tuple[Case, ...]
    """In numeric order of the ids."""
    other_values_are_background: bool = False
    """Whether a stored value that ``values`` lacks is background; else it is refused."""
    ignored_value: int | None = None
    """A stored value that means voxels that nobody labelled; None where there is none."""
    stacked: bool = False
    """Whether the modalities are the fourth axis of one file."""
    image_channels: tuple[int | None, ...] = ()
    """Per image file of a case, which volume of its fourth axis is read; empty where none has one."""
    structure_channels: tuple[int | None, ...] = ()
    """The same per structure."""
    later_covers: bool = False
    """Whether a structure covers those before it where they overlap; else overlap is refused."""
    unlabelled: tuple[str, ...] = ()
    """Ids of cases that come without labels by design and are not used."""
    findings: tuple[Finding, ...] = ()
    """What the names alone show, such as a missing partner."""
    choices: Mapping[str, str] = field(default_factory=dict)
    """Choices recorded with the prepared data, such as which of two label files was taken."""
    recognised: tuple[Path, ...] = ()
    """Files and folders that belong to no case that is used and yet are accounted for, such as unlabelled images."""
    patterns: tuple[str, ...] = ()
    """What the paths of a case look like below the root, for people."""

    def require(self) -> "Listing":
        """This listing, if every case it names can be found.

        Raises:
            UserError: the errors among the findings, the first ``LISTED_ERRORS`` of them by name; or no case at all.
        """
        errors = [finding for finding in self.findings if finding.severity == "error"]
        if errors:
            raise UserError(_told(errors))
        if not self.cases:
            raise UserError(f"{self.name} has no labelled case; medsweep data describe tells the expected folder")
        return self


def _told(errors: Sequence[Finding]) -> str:
    """One error in a line; several in a line each below a first one, with what to do."""
    lines = [f"{'' if error.case == '-' else f'{error.case}: '}{error.what} ({error.file})" for error in errors]
    of_cases = any(error.case != "-" for error in errors)
    if len(errors) == 1:
        return lines[0] + ("; mend it, or name the case in data.leave_out" if of_cases else "")
    mend = "mend them, or name the cases in data.leave_out" if of_cases else "mend them"
    more = [f"and {len(lines) - LISTED_ERRORS} more: medsweep data check lists them"][: len(lines) > LISTED_ERRORS]
    return "\n  ".join([f"the data have {len(errors)} errors; {mend}:", *lines[:LISTED_ERRORS], *more])


@dataclass(frozen=True, kw_only=True)
class DatasetSpec(DatasetFormat):
    """One dataset: everything that is the same for all who have obtained it."""

    title: str
    layout: str
    """Name of the folder layout, for people."""
    list_cases: Callable[..., Listing] | None
    """Finds the cases: called with the data folder, this record and, where one is chosen, one of ``label_files``. None
    where the user's description says how."""
    label_files: tuple[str, ...] = ()
    """The kinds of label file to choose from, where there are several."""
    units: str
    cases: str
    """How many there are."""
    licence: str
    terms: str
    publishable: bool
    """Whether its terms let a slice of it, or a sample of a generator trained on it, be shown in public unasked."""
    where: str
    """How to obtain it."""
    expected: str
    """Folder tree, several lines."""
    resolution: int = 256
    """Side of the square slices, in pixels, that sweeps over this dataset use."""
    citation: str
    quirks: tuple[str, ...]
    """What surprises its readers, a line each."""
