import numpy as np
from scipy.ndimage import gaussian_filter

R, ORGAN, LESION = 16, 1, 2


def blank() -> np.ndarray:
    return np.zeros((R, R), np.uint8)


def organ() -> np.ndarray:
    mask = blank()
    mask[3:13, 4:12] = ORGAN
    return mask


def lesion_in_organ() -> np.ndarray:
    mask = organ()
    mask[6:9, 6:8] = LESION
    return mask


def ring() -> np.ndarray:
    mask = organ()
    mask[5:8, 6:9] = 0
    return mask


def two_blobs() -> np.ndarray:
    mask = blank()
    mask[1:7, 1:7] = ORGAN
    mask[10:13, 10:12] = ORGAN
    return mask


def random_masks(count: int, size: int, classes: int, seed: int = 0) -> np.ndarray:
    """Smooth random blobs with ragged edges and specks."""
    random = np.random.default_rng(seed)
    fields = gaussian_filter(random.standard_normal((count, classes, size, size)), (0, 0, 2, 2), mode="wrap")
    fields += 0.02 * random.standard_normal(fields.shape)
    return fields.argmax(axis=1).astype(np.uint8)
