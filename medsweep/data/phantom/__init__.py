"""Made-up cohorts: a generic one, and one in the on-disk layout of each dataset that medsweep knows.

``write`` makes them by the name of the dataset; every patient comes from its own seeded generator.
"""

from medsweep.data.phantom.config import PHANTOM_VERSION, PhantomConfig
from medsweep.data.phantom.generic import CLASSES, MODALITIES, make_patient, write_phantom
from medsweep.data.phantom.write import DATASETS, patient_ids

__all__ = [
    "CLASSES",
    "DATASETS",
    "MODALITIES",
    "PHANTOM_VERSION",
    "PhantomConfig",
    "make_patient",
    "patient_ids",
    "write_phantom",
]
