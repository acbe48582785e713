"""Features of Inception-v3, for comparison with the literature; needs the extra ``medsweep[inception]`` and weights.

Shapes: N images, C modalities, R pixels. The network is that of torch-fidelity, whose weights were converted from those
of Heusel et al. 2017; it was trained on photographs.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from medsweep.errors import UserError
from medsweep.files import sha256_of
from medsweep.trainers.precision import exact

SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
"""Of the file pt_inception-2015-12-05-6726825d.pth, also published as weights-inception-2015-12-05-6726825d.pth."""

SIDE = 299
"""Pixels that the network works on."""

PERCENTILES = (1.0, 99.5)
"""Of the real intensities of a modality: what becomes black and white."""

BATCH = 32

CHUNK = 256
"""Images read from disk at a time."""

Extractor = Callable[[Tensor], tuple[Tensor, ...]]
"""From uint8 images (N, 3, H, W) to features; the first entry is (N, 2048)."""


def load_extractor(weights: Path, device: str) -> Extractor:
    """Inception-v3 with its last pooled features, in evaluation mode on ``device``.

    Raises:
        UserError: there is no such file, it is not the expected one, or torch-fidelity is not installed.
    """
    if not weights.is_file():
        raise UserError(
            f"assess.inception: there is no file {weights}; give the path of pt_inception-2015-12-05-6726825d.pth, "
            "or leave the field out"
        )
    digest = sha256_of(weights)
    # torch-fidelity unpickles the file, which can run code, so only the published file may be passed on
    if digest != SHA256:
        raise UserError(
            f"assess.inception: {weights} has sha256 {digest[:16]}..., not {SHA256[:16]}...; it is damaged or another "
            "file, so fetch pt_inception-2015-12-05-6726825d.pth again"
        )
    try:
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
    except ImportError as error:
        raise UserError(
            f"assess.inception needs torch-fidelity, which cannot be imported ({error}); "
            "pip install 'medsweep[inception]', or leave the field out"
        ) from error
    network = FeatureExtractorInceptionV3("inception-v3-compat", ["2048"], feature_extractor_weights_path=str(weights))
    extractor: Extractor = network.to(device).eval()
    return extractor


def window(real_NCRR: NDArray[np.floating]) -> NDArray[np.float64]:
    """Intensities of the real slices at ``PERCENTILES``, (C, 2); one unit wide where they coincide."""
    bounds_C2 = np.array([np.percentile(real_NCRR[:, number], PERCENTILES) for number in range(real_NCRR.shape[1])])
    flat_C = bounds_C2[:, 1] <= bounds_C2[:, 0]
    bounds_C2[flat_C, 1] = bounds_C2[flat_C, 0] + 1
    return bounds_C2


@exact()
@torch.no_grad()
def inception_features(
    extractor: Extractor, window_C2: NDArray[np.float64], images_NCRR: Tensor, device: torch.device | str = "cpu"
) -> Tensor:
    """Features of each modality as a grey image, one modality after another, float32 (N, 2048 C) on the CPU."""
    columns = []
    for number, (low, high) in enumerate(window_C2):
        batches = torch.split(images_NCRR[:, number : number + 1], BATCH)
        grey = (eight_bits(batch.to(device), low, high).expand(-1, 3, -1, -1).contiguous() for batch in batches)
        columns.append(torch.cat([extractor(batch)[0].float().cpu() for batch in grey]))
    return torch.cat(columns, dim=1)


def features_by_chunks(
    extractor: Extractor,
    window_C2: NDArray[np.float64],
    images_NCRR: NDArray[np.floating],
    rows: NDArray[np.int64],
    device: torch.device | str,
) -> NDArray[np.float32]:
    """``inception_features`` of some rows, read ``CHUNK`` at a time, (n, 2048 C)."""
    chunks = (np.array(images_NCRR[rows[first : first + CHUNK]], np.float32) for first in range(0, len(rows), CHUNK))
    return np.concatenate(
        [inception_features(extractor, window_C2, torch.from_numpy(chunk), device).numpy() for chunk in chunks]
    )


def eight_bits(images_N1RR: Tensor, low: float, high: float) -> Tensor:
    """Images at ``SIDE`` pixels, ``low`` and below as 0, ``high`` and above as 255, uint8 (N, 1, SIDE, SIDE).

    Resized once, bilinear with antialiasing, as floats: what the resize does to an image moves the Fréchet distance
    (Parmar et al. 2022).
    """
    resized = functional.interpolate(images_N1RR.float(), (SIDE, SIDE), mode="bilinear", antialias=True)
    return ((resized - low) / (high - low)).clamp(0, 1).mul(255).round().to(torch.uint8)
