"""What the patients of a sweep were when it was last planned, so that results can be read where their files are not."""

from pathlib import Path

from medsweep.data.config import DataConfig
from medsweep.data.source import DataSource, inspect_source
from medsweep.identity import canonical
from medsweep.store.store import Store
from medsweep.study.kept import keep, kept_path, read_kept
from medsweep.tracking.reading import reading_cases


def current_source(config: DataConfig, store: Store, *, rehash: bool = False) -> DataSource:
    """The patients as their files are now; kept in the store for ``recorded_source``. ``rehash`` reads all files anew.

    Raises:
        UserError: the folder or a file is missing, or the layout cannot be used.
    """
    with reading_cases() as on_read:
        source = inspect_source(config, store.root, rehash=rehash, on_read=on_read)
    path = _path(config, store)
    if config.phantom is None and read_kept(DataSource, path) != source:
        keep(source, path, store)
    return source


def recorded_source(config: DataConfig, store: Store) -> DataSource:
    """The patients as their files are now, or as they were when the store last saw them, where there is no such folder.

    Raises:
        UserError: the folder is not there and the store never saw it, or ``inspect_source`` refuses what is in it.
    """
    if config.phantom is None and not Path(str(config.root)).is_dir():
        source = read_kept(DataSource, _path(config, store))
        if source is not None:
            return source
    return current_source(config, store)


def _path(config: DataConfig, store: Store) -> Path:
    return store.fresh(kept_path(store, "patients", canonical(config)))
