"""The ``data`` section of a sweep, and the whole resolved config of one prepare trial."""

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from medsweep.config import LATER, NOT_IDENTITY, Config
from medsweep.data.catalogue import CATALOGUE, canonical_name
from medsweep.data.dataset import Inside, Intensity, Mirrored, SliceAxis
from medsweep.data.folds import Fold
from medsweep.data.layouts.description import FolderDescription
from medsweep.data.phantom import DATASETS, PhantomConfig
from medsweep.data.stage_config import StageConfig
from medsweep.errors import nearest


def _default_phantom(fields: dict[str, Any]) -> PhantomConfig | None:
    return PhantomConfig() if fields.get("dataset") == "phantom" else None


class DataConfig(Config):
    """Which dataset, where, and how its slices are cut and scaled."""

    dataset: str = Field(min_length=1)
    """A name that ``medsweep data list`` shows, ``phantom``, or a name for your own folder ``root``."""
    root: Annotated[str | None, NOT_IDENTITY] = None
    """Folder of the files. It is not in the digest; the content of the files is hashed instead."""
    phantom: PhantomConfig | None = Field(default_factory=_default_phantom)
    """A made-up cohort in the layout of ``dataset`` instead of files."""
    description: FolderDescription | None = None
    """How to read ``root``, where no ``medsweep.yaml`` in it says so."""
    labels: Literal["segTRI", "segTRI_fill"] | None = None
    """Which labels of IBSR18; None takes the layout's own choice, which is recorded."""
    leave_out: tuple[str, ...] = ()
    """Ids of cases that are not used; the name of a patient stands for all of its cases."""
    resolution: int = Field(default=256, ge=8, le=1024, multiple_of=8)
    """Side of the square slices in pixels."""
    slice_axis: SliceAxis | None = None
    """None takes the dataset's own."""
    intensity: Intensity | None = None
    """None takes the dataset's own."""
    mirrored: Annotated[Mirrored | None, NOT_IDENTITY] = None
    """``left-right``: neither the anatomy nor a class tells left from right, so generators may learn from mirrored
    slices too (``flip``). None takes what the catalogue or ``medsweep.yaml`` declares."""
    image_dtype: Literal["float32", "float16"] = "float32"
    """Type of the stored images; float16 halves disk and memory and keeps three digits."""

    @field_validator("dataset")
    @classmethod
    def _one_spelling(cls, name: str) -> str:
        return canonical_name(name)

    @model_validator(mode="after")
    def _one_source(self) -> "DataConfig":
        name = self.dataset
        if self.phantom is not None and self.root is not None:
            raise ValueError(f"a made-up cohort has no folder; remove data.root ({self.root!r}) or data.phantom")
        if self.phantom is not None and name not in DATASETS:
            raise ValueError(f"no cohort can be made up for dataset {name!r}; {nearest(name, DATASETS)}")
        if self.phantom is None and self.root is None:
            suggestion = nearest(name, CATALOGUE)
            hint = f" ({suggestion})" if name not in CATALOGUE and suggestion.startswith("did") else ""
            raise ValueError(
                f"dataset {name!r}{hint} needs data.root, the folder of its files; without files, data.phantom makes "
                f"up a cohort for {', '.join(DATASETS)}"
            )
        if self.labels is not None and (name not in CATALOGUE or not CATALOGUE[name].label_files):
            raise ValueError(f"data.labels chooses among the labels of ibsr18; dataset {name!r} has one kind")
        if self.description is not None and (self.phantom is not None or (name in CATALOGUE and name != "u-pro")):
            raise ValueError(f"data.description is for folders of your own; dataset {name!r} is known: remove it")
        return self


class PrepareConfig(DataConfig, StageConfig):
    """``DataConfig`` plus what the source held when the sweep was planned."""

    source: str = Field(pattern=r"^[0-9a-f]{64}$")
    """``DataSource.fingerprint``."""
    fold: Fold | None = None
    """The fold whose training patients cohort intensities are fitted on; None where nothing is fitted."""

    inside: Annotated[tuple[Inside, ...], LATER] = ()
    """Which voxels the z-score of each modality looks at, where ``inside: auto`` was decided from all cases when the
    sweep was planned."""

    @property
    def cut(self) -> Fold | None:
        """``fold``."""
        return self.fold

    @property
    def side_px(self) -> int:
        """``resolution``."""
        return self.resolution
