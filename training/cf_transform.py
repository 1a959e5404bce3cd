"""From a dot product of factors to the feature ``cf`` of ranking."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_SAMPLED_USERS = 500
_BEST = 40
_MOST_DOTS = 20_000_000


def cf_transform(
    user_factors: NDArray[np.float32], item_factors: NDArray[np.float32], *, seed: int
) -> tuple[dict[str, float | str], float]:
    """
    Return the fixed transform of a dot product into the feature ``cf`` of ranking, and how much of it is saturated.

    A clip to [0, 1] would not do: what a user likes best often scores above 1, so that its order would be lost. The
    transform is ``1 / (1 + exp(-(dot - midpoint) / scale))``. Over all items of a sample of users the median, an item
    that says nothing to the user, becomes 0.05, and the best of fifty items 0.5; where that would be more than
    `_BEST` items a user, the last of so many: of a large catalogue only few are ever shown.

    Returns:
        ``{"kind": "logistic", "midpoint": ..., "scale": ...}`` in units of the dot product, and the share of each
        sampled user's twenty best items whose feature is above 0.99.
    """
    most = max(20, min(_SAMPLED_USERS, _MOST_DOTS // max(1, len(item_factors))))
    sample = np.random.default_rng(seed).permutation(len(user_factors))[:most]
    dots = (user_factors[np.sort(sample)] @ item_factors.T).astype(np.float64)
    median, high = np.quantile(dots, [0.5, max(0.98, 1 - _BEST / max(1, len(item_factors)))])
    scale = max((high - median) / np.log(19), 1e-6)
    transform: dict[str, float | str] = {
        "kind": "logistic",
        "midpoint": round(float(high), 6),
        "scale": round(float(scale), 6),
    }
    best = np.partition(dots, -min(20, dots.shape[1]), axis=1)[:, -20:]
    return transform, round(float((best > high + scale * np.log(99)).mean()), 4)
