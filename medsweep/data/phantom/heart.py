"""A made-up chest in MR whose left atrium is to be found among other chambers that are as bright."""

from enum import IntEnum

import numpy as np

from medsweep.data.phantom.cohort import Patient
from medsweep.data.phantom.mr import Scanner, acquire, signals
from medsweep.data.phantom.shapes import Floats, Mask, grid_of


class Tissue(IntEnum):
    """Tissue codes of a chest."""

    AIR = 0
    FAT = 1
    MUSCLE = 2
    LUNG = 3
    SPINE = 4
    MYOCARDIUM = 5
    BLOOD = 6
    ATRIUM = 7
    LIVER = 8


INTENSITY: dict[int, tuple[float, ...]] = {
    Tissue.AIR: (0.0,),
    Tissue.FAT: (760.0,),
    Tissue.MUSCLE: (300.0,),
    Tissue.LUNG: (60.0,),
    Tissue.SPINE: (420.0,),
    Tissue.MYOCARDIUM: (360.0,),
    Tissue.BLOOD: (650.0,),
    Tissue.ATRIUM: (640.0,),
    Tissue.LIVER: (430.0,),
}
SCANNER = Scanner(texture=0.5, bias=0.2, noise=36.0, gain=1.0)


def draw_heart(patient: Patient) -> tuple[Floats, Mask]:
    """Image (X, Y, Z) in arbitrary units and mask of the left atrium with the stubs of the lung veins."""
    canvas = patient.canvas()
    blob, paint, rng = canvas.blob, canvas.paint, canvas.rng
    paint(Tissue.FAT, blob((0, 0, 0), (0.9, 0.74, 9)))
    paint(Tissue.MUSCLE, blob((0, 0, 0), (0.8, 0.64, 9)))
    for side in (-1, 1):
        paint(Tissue.LUNG, blob((side * 0.42, 0, 0.2), (0.34, 0.5, 1.1), rough=0.1), over=(Tissue.MUSCLE,))
    paint(Tissue.SPINE, blob((0, -0.5, 0), (0.12, 0.13, 9)))
    paint(Tissue.LIVER, blob((0.4, 0.1, -1.0), (0.5, 0.5, 0.45), rough=0.1), over=(Tissue.LUNG, Tissue.MUSCLE))
    heart = np.array([-0.1, 0.12, 0.0]) + rng.normal(0.0, 0.05, 3)
    paint(Tissue.MYOCARDIUM, blob(heart, (0.38, 0.36, 0.75), stretch=0.1, rough=0.1))
    for place, radii in (
        ((-0.12, 0.06, -0.15), (0.15, 0.14, 0.36)),
        ((0.1, 0.16, -0.12), (0.13, 0.12, 0.36)),
        ((0.24, -0.02, 0.1), (0.12, 0.14, 0.32)),
    ):
        paint(Tissue.BLOOD, blob(heart + np.asarray(place), radii, stretch=0.12, rough=0.2))
    paint(Tissue.BLOOD, blob(heart + np.array([0.05, 0.0, 0.75]), (0.09, 0.09, 0.6)))
    paint(Tissue.BLOOD, blob((-0.14, -0.42, 0), (0.08, 0.08, 9)))
    atrium = heart + np.array([0.02, -0.26, 0.12])
    size = float(np.exp(rng.normal(0.0, 0.14)))
    paint(Tissue.ATRIUM, blob(atrium, (0.22 * size, 0.14 * size, 0.34 * size), stretch=0.12, rough=0.3))
    for side in (-1, 1):
        for _ in range(1 + int(rng.random() < 0.6)):
            stub = atrium + np.array([side * 0.2 * size, -0.03, rng.uniform(-0.1, 0.25)])
            paint(Tissue.ATRIUM, blob(stub, (0.12, 0.05, 0.1)), over=(Tissue.LUNG, Tissue.MUSCLE, Tissue.MYOCARDIUM))
    image = acquire(rng, grid_of(patient.shape), signals(INTENSITY, canvas.tissue), SCANNER)[0]
    return image, canvas.tissue == Tissue.ATRIUM
