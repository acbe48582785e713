"""The fixed random network as a feature space."""

import numpy as np
import torch
from scipy.ndimage import gaussian_filter

from medsweep.trainers.measures.frechet import frechet
from medsweep.trainers.random_features import WIDTHS, RandomFeatures


def test_it_is_the_same_network_every_time_and_needs_no_gradient():
    x = torch.randn(3, 2, 32, 32, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(1)
    first = RandomFeatures(2)(x)
    torch.manual_seed(2)
    assert torch.equal(first, RandomFeatures(2)(x))
    assert first.shape == (3, 2 * sum(WIDTHS))
    assert not first.requires_grad
    assert not torch.equal(RandomFeatures(3)(torch.cat([x, x[:, :1]], dim=1)), first)


def test_the_distance_grows_with_blur_and_with_noise():
    rng = np.random.default_rng(0)
    network = RandomFeatures(1)

    def draw():
        return gaussian_filter(rng.standard_normal((40, 1, 32, 32)), (0, 0, 1, 1)).astype(np.float32)

    def features(images):
        return network(torch.from_numpy(images)).numpy()

    real, fresh = features(draw()), draw()
    noise = rng.standard_normal(fresh.shape).astype(np.float32)
    blurred = [frechet(real, features(gaussian_filter(fresh, (0, 0, s, s)))) for s in (0, 0.7, 1.5)]
    noisy = [frechet(real, features(fresh + sigma * noise)) for sigma in (0, 0.2, 0.6)]
    for found in (blurred, noisy):
        assert found[0] < found[1] < found[2]
        assert found[2] > 2 * found[0]
