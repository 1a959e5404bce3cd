"""How far a mean over users would move with other users."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SAMPLES = 1000
_CELLS = 4_000_000


def bootstrap_intervals(
    values: NDArray[np.float64], *, seed: int = 0, samples: int = SAMPLES, level: float = 0.95
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """
    Return the lower and the upper end of the interval of each column's mean, each float64 of shape (m,).

    Args:
        values: Shape (n, m): m metrics of n users.
        seed: The same seed gives the same ends.
        samples: How often n users are drawn again, with replacement.
        level: The share of the samples' means that lies between the ends.

    Source:
        Efron, "Bootstrap methods: another look at the jackknife", 1979; percentile ends.
    """
    count, metrics = values.shape
    if not count:
        return np.zeros(metrics), np.zeros(metrics)
    generator = np.random.default_rng(seed)
    means = np.empty((samples, metrics))
    at_once = max(1, _CELLS // count)
    for first in range(0, samples, at_once):
        some = min(at_once, samples - first)
        drawn = generator.integers(0, count, size=(some, count))
        flat = (drawn + np.arange(some)[:, None] * count).ravel()
        times = np.bincount(flat, minlength=some * count).reshape(some, count)
        means[first : first + some] = times @ values / count
    outside = (1 - level) / 2
    low, high = np.quantile(means, [outside, 1 - outside], axis=0)
    return low, high
