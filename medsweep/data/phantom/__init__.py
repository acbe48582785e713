"""Made-up cohorts: a generic one, and one in the on-disk layout of each dataset that medsweep knows."""

import re
from pathlib import Path

from medsweep.data.phantom import brats, generic, ibsr, kits, msd, upro
from medsweep.data.phantom.cohort import PhantomConfig, write_readme

__all__ = ["DATASETS", "PhantomConfig", "patient_ids", "slices_of", "write_cohort"]

GENERIC = "phantom"

_COHORTS = {
    cohort.dataset: cohort for cohort in (brats.COHORT, kits.COHORT, ibsr.COHORT, msd.HEART, msd.SPLEEN, upro.COHORT)
}

DATASETS: tuple[str, ...] = (GENERIC, *_COHORTS)
"""Names of the datasets of which a cohort can be made up."""


def patient_ids(config: PhantomConfig, dataset: str = GENERIC) -> tuple[str, ...]:
    """Ids of the cohort's patients as its layout reports them: in numeric order."""
    ids = generic.made_ids(config) if dataset == GENERIC else _COHORTS[dataset].made_ids(config)
    return tuple(sorted(ids, key=lambda id_: int(re.findall(r"\d+", id_)[-1])))


def slices_of(config: PhantomConfig, dataset: str = GENERIC) -> int:
    """Slices of all patients, at most, counted from the feet upwards."""
    shape = config.shape or (generic.SHAPE if dataset == GENERIC else _COHORTS[dataset].shape)
    return config.patients * shape[2]


def write_cohort(dataset: str, config: PhantomConfig, root: Path) -> None:
    """Write a cohort under ``root`` in the layout of ``dataset``, with a README.txt that says it is made up.

    Every patient comes from its own seeded generator, so the same config gives the same bytes, and the first patients
    of a larger cohort are those of a smaller one. ``dataset`` is one of ``DATASETS``.
    """
    if dataset == GENERIC:
        generic.write_phantom(config, root)
        return
    cohort = _COHORTS[dataset]
    for patient in cohort.patients(config):
        cohort.write(patient, root)
    if cohort.describe is not None:
        cohort.describe(config, cohort.made_ids(config), root)
    write_readme(dataset, config, root)
