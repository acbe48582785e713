"""Folders of pairs that a sweep names: looked through when it is planned, and what was found kept in the store."""

import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from medsweep.data.config import DataConfig
from medsweep.data.dataset import Listing
from medsweep.data.folds import Fold, patients_of, split
from medsweep.data.intensity import CLIP
from medsweep.data.source import DataSource, open_listing
from medsweep.data.stage_config import StageConfig
from medsweep.identity import canonical
from medsweep.store.store import Store
from medsweep.study.kept import keep, kept_path, read_kept
from medsweep.study.stages import Settings, StudySweep
from medsweep.sweep.arms import Arm
from medsweep.sweep.plan import Plan
from medsweep.trainers.generators import Start
from medsweep.trainers.synthesis.from_files import ImportConfig
from medsweep.trainers.synthesis.pair_files import PoolFolderError
from medsweep.trainers.synthesis.pool_folder import UNKNOWN, PoolFolder, RequiredPairs
from medsweep.yamlfile import Key

VERSION = 1
"""Raised when what is found in a folder would be found differently."""


@dataclass(frozen=True)
class FoundPool:
    """What a plan has to know of a folder of pairs."""

    path: str
    content: str
    samples: int
    fitted_on: tuple[str, ...] | None
    """Cases that its generator learned from; None where that is unknown."""
    stamps: tuple[tuple[str, int, int, int, int], ...] = ()
    """Of all files: path, size, times of content and inode, inode."""


@dataclass(frozen=True)
class PoolFolders:
    """The folders that arms name, each looked through once per command."""

    sweep: StudySweep
    """Relative paths go from the folder of its file."""
    source: DataSource
    store: Store
    reading: bool = False
    """Whether what the store recorded will do where a folder is not there."""
    rehash: bool = False
    """Whether folders are looked through anew, whatever is remembered of them."""
    plan_of: Callable[[Path], Plan[Settings]] | None = None
    """From another sweep file to its plan in the same store."""
    starts: dict[tuple[str, ...], Start] = field(default_factory=dict)
    """Generators that others begin from, as ``Starts`` found them."""
    _found: dict[str, FoundPool] = field(default_factory=dict)
    _listings: dict[str, Listing] = field(default_factory=dict)

    def pool_of(self, settings: Settings, fold: Fold, seed: int, size: int) -> FoundPool:
        """The pool that an arm reads under a fold and seed, if all is right with it.

        Raises:
            PoolFolderError: a file is missing or does not fit, there are fewer than ``size`` slices, or its generator
                may have learned from a patient outside the fold's training group.
        """
        template = str(settings.synthesise.folder)
        name = template.replace("{fold}", str(fold.index)).replace("{seed}", str(seed))
        pool = self._look(name, settings.data)
        if pool.fitted_on is None and not settings.synthesise.unknown_patients:
            raise PoolFolderError(
                f"{pool.path}/pool.yaml: fitted_on is {UNKNOWN}, so its patients may be among those tested; name "
                "them, or allow it by synthesise.unknown_patients: true, which the report repeats as a limit"
            )
        _require_trained_within(pool, fold, self.source.patients)
        if settings.synthesise.unit == "slices" and size > pool.samples:
            raise PoolFolderError(
                f"{pool.path} holds {pool.samples} samples and {size} are asked for, the largest dose (with its "
                "headroom, where a filter reads it); make more, or lower synthesise.count or synthesise.headroom"
            )
        return pool

    def _look(self, name: str, data: DataConfig) -> FoundPool:
        path = (self.sweep.yaml.path.parent / Path(name).expanduser()).absolute()
        # by the name in the file, so that results can be read where the folder lies elsewhere or nowhere
        key = canonical([VERSION, self.sweep.name, name, data, self.source.patients])
        if key not in self._found:
            self._found[key] = self._found_in(path, data, self.store.fresh(kept_path(self.store, "pool", key)))
        return self._found[key]

    def _found_in(self, path: Path, data: DataConfig, record: Path) -> FoundPool:
        before = read_kept(FoundPool, record)
        if before is not None:
            if self.reading and not path.is_dir():
                return before
            if (
                not self.rehash
                and before.path == str(path)
                and before.stamps == _stamps(Path(stamp[0]) for stamp in before.stamps)
            ):
                return before
        folder = PoolFolder.open(path, self.required(data))
        fitted_on = folder.fitted_on(self.source.patients)
        folder.check()
        stamps = _stamps(folder.files)
        pool = FoundPool(str(path), folder.content(), folder.pairs.samples, fitted_on, stamps)
        keep(pool, record, self.store)
        return pool

    def required(self, data: DataConfig) -> RequiredPairs:
        """What pairs, and generators of them, must fit: the slices that ``data`` will be prepared to."""
        key = canonical(data)
        if key not in self._listings:
            self._listings[key] = _listing(data)
        listing = self._listings[key]
        limit = 1.0 if self.source.intensity.scale == "window" else CLIP
        return RequiredPairs(data.resolution, tuple(listing.modalities), tuple(listing.classes), limit)


def unknown_patients(plan: Plan[Settings]) -> str:
    """The limit of a study whose pools come from generators that may have seen the patients it tests, else empty."""
    serves = plan.serves()
    pools = [digest for digest, trial in plan.trials.items() if _is_unknown(trial.config)]
    arms = ", ".join(dict.fromkeys(arm for digest in pools for arm in serves[digest]))
    if not pools:
        return ""
    return (
        f"Nobody said which patients the generators behind {arms} learned from. They may have seen patients that are "
        "tested here, and then these arms score too well."
    )


def _is_unknown(config: StageConfig) -> bool:
    return isinstance(config, ImportConfig) and config.fitted_on is None


def place_of(sweep: StudySweep, arm: Arm[Settings], dotted: str = "synthesise.folder") -> Key:
    """Where a sweep file sets a field of an arm, by default its folder."""
    own = ("arms", arm.name)
    return sweep.place((*own, dotted), ("factors", dotted), ("fixed", *dotted.split(".")), own)


def _require_trained_within(pool: FoundPool, fold: Fold, patients: tuple[str, ...]) -> None:
    groups = split(patients, fold)
    fitted = set(pool.fitted_on or ())
    for group, members in (("tests", groups.test), ("validates on", groups.validation)):
        if shared := set(patients_of(fitted)) & set(patients_of(members)):
            raise PoolFolderError(
                f"{pool.path} comes from a generator that learned from {len(shared)} patient(s) whom fold "
                f"{fold.index} {group}, first {min(shared)!r}; train one per fold on what medsweep data "
                "export-fold writes, and put {fold} into synthesise.folder"
            )
    if strangers := fitted - set(groups.train):
        raise PoolFolderError(
            f"{pool.path} comes from a generator that learned from {len(strangers)} case(s) outside the training "
            f"group of fold {fold.index}, first {min(strangers)!r}; data.patients leaves them out, so "
            "train it on the others"
        )


def _listing(data: DataConfig) -> Listing:
    """Modalities and classes, from the file names and small text files alone."""
    if data.phantom is None:
        return open_listing(data, Path())
    few = data.phantom.model_copy(update={"patients": 2})
    with tempfile.TemporaryDirectory() as scratch:
        return open_listing(data.model_copy(update={"phantom": few, "leave_out": ()}), Path(scratch))


def _stamps(paths: Iterable[Path]) -> tuple[tuple[str, int, int, int, int], ...]:
    """Of those that are there; a folder's change when a file is added to it."""
    there = ((path, path.stat()) for path in paths if path.exists())
    return tuple((str(path), at.st_size, at.st_mtime_ns, at.st_ctime_ns, at.st_ino) for path, at in there)
