"""Made-up anatomy: a brain, an abdomen, a chest and a pelvis, painted on a canvas.

Centres and radii are in units of half the field of view.
"""

import numpy as np

from medsweep.data.phantom.canvas import Canvas, Floats, Tissue, floats, smooth, squared_radius


def paint_brain(canvas: Canvas) -> None:
    """Paint a healthy brain without its skull, of varying size, place and folding."""
    rng = canvas.rng
    centre = rng.normal(0.0, 0.04, 3)
    squared = squared_radius(canvas.bent, centre, np.array([0.72, 0.86, 0.8]) * np.exp(rng.normal(0.0, 0.06, 3)))
    folds = smooth(rng, canvas.bent, 1.0, 11.0)
    canvas.paint(Tissue.SULCUS, squared < 1)
    canvas.paint(Tissue.GREY, squared * (1 + 0.16 * np.abs(folds)) < 0.92, over=(Tissue.SULCUS,))
    canvas.paint(Tissue.WHITE, squared * (1 + 0.35 * folds) < 0.5, over=(Tissue.GREY,))
    fissure = (np.abs(canvas.bent[0] - centre[0]) < 0.035) & (canvas.bent[2] > centre[2] + 0.25)
    canvas.paint(Tissue.SULCUS, fissure, over=(Tissue.GREY, Tissue.WHITE))
    for side in (-1, 1):
        nucleus = canvas.blob(centre + np.array([side * 0.22, 0.02, -0.05]), (0.1, 0.2, 0.16), rough=0.1)
        canvas.paint(Tissue.GREY, nucleus)
        wide = float(np.exp(rng.normal(0.0, 0.25)))
        ventricle = canvas.blob(centre + np.array([side * 0.1, 0.0, 0.1]), (0.07 * wide, 0.3, 0.15 * wide), rough=0.2)
        canvas.paint(Tissue.VENTRICLE, ventricle, over=(Tissue.WHITE, Tissue.GREY))


def paint_abdomen(canvas: Canvas) -> None:
    """Paint a trunk: liver on the patient's right, stomach and spleen on the left, kidneys behind."""
    centre = canvas.rng.normal(0.0, 0.03, 3) * (1, 1, 0)

    def organ(code: Tissue, at: tuple[float, float, float], radii: tuple[float, float, float], rough: float) -> None:
        inside = canvas.blob(centre + np.asarray(at), radii, shift=0.035, stretch=0.1, rough=rough)
        body = True if code is Tissue.FAT else canvas.tissue != Tissue.OUTSIDE
        canvas.paint(code, inside & body)

    organ(Tissue.FAT, (0.0, 0.0, 0.0), (0.88, 0.76, 9.0), 0.0)
    organ(Tissue.MUSCLE, (0.0, 0.0, 0.0), (0.78, 0.66, 9.0), 0.0)
    organ(Tissue.VISCERAL_FAT, (0.0, 0.06, 0.0), (0.68, 0.54, 9.0), 0.0)
    organ(Tissue.MUSCLE, (0.0, -0.4, 0.0), (0.32, 0.2, 9.0), 0.1)
    organ(Tissue.BONE, (0.0, -0.42, 0.0), (0.13, 0.13, 9.0), 0.2)
    for side in (-1, 1):
        organ(Tissue.LUNG, (side * 0.4, -0.05, 1.1), (0.32, 0.45, 0.3), 0.1)
        for height in (-0.3, 0.3, 0.9):
            organ(Tissue.BONE, (side * 0.7, -0.15, height), (0.06, 0.22, 0.12), 0.1)
    for _ in range(7):
        at = canvas.rng.uniform((-0.4, -0.05, -1.0), (0.4, 0.4, 0.3), 3)
        loop = canvas.blob(at, (0.14, 0.13, 0.22), rough=0.3)
        canvas.paint(Tissue.BOWEL, loop, over=(Tissue.VISCERAL_FAT,))
        gas = canvas.blob(at + np.array([0.0, 0.06, 0.0]), (0.06, 0.05, 0.1))
        canvas.paint(Tissue.GAS, gas & loop, over=(Tissue.BOWEL,))
    organ(Tissue.STOMACH, (-0.28, 0.24, 0.5), (0.24, 0.2, 0.4), 0.2)
    organ(Tissue.LIVER, (0.34, 0.1, 0.45), (0.36, 0.42, 0.55), 0.15)
    organ(Tissue.AORTA, (-0.04, -0.2, 0.0), (0.07, 0.07, 9.0), 0.0)
    spleen = float(np.exp(canvas.rng.normal(0.0, 0.2)))
    organ(Tissue.SPLEEN, (-0.5, -0.12, 0.45), (0.15 * spleen, 0.26 * spleen, 0.36 * spleen), 0.25)
    for side in (-1, 1):
        organ(Tissue.KIDNEY, (side * 0.32, -0.2, -0.1 - 0.08 * side), (0.15, 0.17, 0.42), 0.15)


def paint_chest(canvas: Canvas) -> None:
    """Paint a heart whose left atrium, with the stubs of the lung veins, lies among chambers that are as bright."""
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


def paint_pelvis(canvas: Canvas, *, prostate: bool) -> None:
    """Paint a bladder above and in front of the prostate, rectum behind both, muscle and hips at the sides."""
    blob, paint, rng = canvas.blob, canvas.paint, canvas.rng
    paint(Tissue.FAT, blob((0, 0, 0), (0.92, 0.72, 9)))
    paint(Tissue.MUSCLE, blob((0, -0.02, 0), (0.8, 0.58, 9), rough=0.1))
    paint(Tissue.PELVIC_FAT, blob((0, 0, 0.1), (0.42, 0.46, 9), rough=0.1))
    for side in (-1, 1):
        paint(Tissue.BONE, blob((side * 0.62, 0.05, 0.1), (0.17, 0.19, 0.5), rough=0.1))
        paint(Tissue.MUSCLE, blob((side * 0.34, -0.02, -0.2), (0.1, 0.28, 0.8)))
    paint(Tissue.BONE, blob((0, -0.5, 0.5), (0.24, 0.1, 0.6), rough=0.1))
    for _ in range(5):
        loop = rng.uniform((-0.3, -0.05, 0.45), (0.3, 0.35, 1.0), 3)
        paint(Tissue.BOWEL, blob(loop, (0.12, 0.12, 0.2), rough=0.2), over=(Tissue.PELVIC_FAT,))
    centre = rng.normal(0.0, 0.03, 3)

    def at(right: float, front: float, up: float) -> Floats:
        return floats(centre + np.array([right, front, up]))

    filled = float(np.exp(rng.normal(0.0, 0.25)))
    bladder = blob(at(0, 0.16, 0.3), (0.24 * filled, 0.19 * filled, 0.3 * filled), rough=0.15)
    paint(Tissue.BLADDER, bladder)
    if prostate:
        size = float(np.exp(rng.normal(0.0, 0.15)))
        paint(Tissue.PERIPHERAL_ZONE, blob(at(0, 0, -0.25), (0.2 * size, 0.16 * size, 0.28 * size), rough=0.15))
        gland = blob(at(0, 0.05, -0.2), (0.14 * size, 0.11 * size, 0.22 * size), rough=0.15)
        paint(Tissue.CENTRAL_GLAND, gland, over=(Tissue.PERIPHERAL_ZONE,))
    rectum = blob(at(0, -0.27, 0), (0.12, 0.1, 9), stretch=0.15, rough=0.2)
    paint(Tissue.RECTUM, rectum)
    paint(Tissue.STOOL, blob(at(0, -0.27, rng.uniform(-0.5, 0.5)), (0.07, 0.06, 0.4)), over=(Tissue.RECTUM,))
