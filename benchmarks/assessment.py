"""Fréchet distance and precision, recall, density, coverage: ours against the textbook forms, in one process.

The first peer takes the root of the product of both covariances with ``scipy.linalg.sqrtm``, as the common FID codes
do. The second compares samples pair by pair in a loop. Both sides take turns. The root is slow, so one round is the
default.

    OMP_NUM_THREADS=1 python benchmarks/assessment.py [--rounds N] [--samples N] [--features D]
"""

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import sqrtm

from medsweep.trainers.measures.frechet import frechet
from medsweep.trainers.measures.neighbours import DENSITY_NEIGHBOUR, PRECISION_NEIGHBOUR, prdc

Array = NDArray[np.float64]


def root_frechet(a_ND: Array, b_MD: Array) -> float:
    """|mean difference|^2 + tr(S_a + S_b - 2 (S_a S_b)^(1/2)) with a matrix root (Heusel et al. 2017, eq. 6)."""
    cov_a, cov_b = np.cov(a_ND, rowvar=False), np.cov(b_MD, rowvar=False)
    shift = np.square(a_ND.mean(axis=0) - b_MD.mean(axis=0)).sum()
    return float(shift + np.trace(cov_a) + np.trace(cov_b) - 2 * np.trace(sqrtm(cov_a @ cov_b)).real)


def pair_loop(a_ND: Array, b_MD: Array) -> Array:
    """Distances of all pairs, (N, M), one pair at a time."""
    return np.array([[np.linalg.norm(a - b) for b in b_MD] for a in a_ND])


def looped_prdc(real_ND: Array, synthetic_MD: Array) -> dict[str, float]:
    """The definitions of Kynkäänniemi et al. 2019 and Naeem et al. 2020, read off distances pair by pair."""
    real, synthetic, between = (
        pair_loop(*pair) for pair in ((real_ND, real_ND), (synthetic_MD, synthetic_MD), (real_ND, synthetic_MD))
    )
    near_real, far_real = np.sort(real, axis=1)[:, PRECISION_NEIGHBOUR], np.sort(real, axis=1)[:, DENSITY_NEIGHBOUR]
    near_synthetic = np.sort(synthetic, axis=1)[:, PRECISION_NEIGHBOUR]
    n, m = between.shape
    return {
        "precision": sum(any(between[i, j] <= near_real[i] for i in range(n)) for j in range(m)) / m,
        "recall": sum(any(between[i, j] <= near_synthetic[j] for j in range(m)) for i in range(n)) / n,
        "density": sum(between[i, j] <= far_real[i] for i in range(n) for j in range(m)) / (DENSITY_NEIGHBOUR * m),
        "coverage": sum(any(between[i, j] <= far_real[i] for j in range(m)) for i in range(n)) / n,
    }


def timed(work: Callable[[Array, Array], Any], a_ND: Array, b_MD: Array) -> tuple[float, Any]:
    """CPU seconds of this process, which ignore whoever else uses the machine, and the result."""
    begun = time.process_time()
    result = work(a_ND, b_MD)
    return time.process_time() - begun, result


def values(result: Any) -> Array:
    """A number or a table of numbers, as an array."""
    return np.array(list(result.values()) if isinstance(result, dict) else [result])


def main() -> None:
    """Time each pair in turn and print seconds, ratio and the largest relative difference."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("rounds", 1), ("samples", 500), ("features", 2048)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    # a spectrum that falls off as 1 / i, which is what features of networks look like
    scale = np.arange(1, options.features + 1) ** -0.5
    real = rng.standard_normal((options.samples, options.features)) * scale
    synthetic = rng.standard_normal((options.samples, options.features)) * scale * 0.95 + 0.1 * scale
    print(f"n = {options.samples} on each side, d = {options.features}, {options.rounds} rounds")
    for name, ours, peer in (("frechet", frechet, root_frechet), ("prdc", prdc, looped_prdc)):
        rounds = [(timed(ours, real, synthetic), timed(peer, real, synthetic)) for _ in range(options.rounds)]
        our_seconds, peer_seconds = (statistics.median(pair[side][0] for pair in rounds) for side in (0, 1))
        result, expected = values(rounds[0][0][1]), values(rounds[0][1][1])
        difference = float(np.max(np.abs(result - expected) / np.abs(expected)))
        print(
            f"{name}: ours {our_seconds:.3f} s, peer {peer_seconds:.2f} s, peer / ours "
            f"{peer_seconds / our_seconds:.0f}, values differ by {difference:.1e} (relative)"
        )


if __name__ == "__main__":
    main()
