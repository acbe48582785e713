"""What D sees instead of the plain pairs: random distortions that do not leak into the generator.

``DiffAugment`` distorts always, ``Ada`` with a probability p that is fixed or that ``AdaController`` adapts.
"""

from medsweep.trainers.stylegan2.augment.ada import Ada
from medsweep.trainers.stylegan2.augment.choice import Augmentation, first_p, make_augment
from medsweep.trainers.stylegan2.augment.controller import AdaController
from medsweep.trainers.stylegan2.augment.diffaugment import DiffAugment, geometry, intensity

__all__ = ["Ada", "AdaController", "Augmentation", "DiffAugment", "first_p", "geometry", "intensity", "make_augment"]
