"""How far numbers are from what is usual, and distributions from those of before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

_CONSISTENT = 0.6745
_MEAN_DEVIATION = 1.253314
_LEAST_SHARE = 1e-4


def robust_z(values: Sequence[float] | NDArray[np.float64]) -> NDArray[np.float64]:
    """
    Return how far each value is from the median, in standard deviations that outliers do not stretch.

    Where more than half of the values are equal the mean absolute deviation stands in for the median one; where all
    are, every score is 0.

    Source:
        Iglewicz, Hoaglin, "How to Detect and Handle Outliers", 1993.
    """
    given = np.asarray(values, np.float64)
    if not len(given):
        return given
    away = given - np.median(given)
    spread = np.median(np.abs(away)) / _CONSISTENT
    if not spread:
        spread = np.abs(away).mean() * _MEAN_DEVIATION
    scores: NDArray[np.float64] = away / spread if spread else np.zeros(len(given))
    return scores


def population_stability(before: Mapping[str, int], now: Mapping[str, int]) -> float:
    """
    Return the population stability index of two counts by name: 0 where the shares are equal.

    Below 0.1 is usually read as stable, above 0.25 as another population. Shares below a ten-thousandth count as that,
    so that a new name is no infinity.
    """
    old, new = _shares(before, now)
    old, new = np.maximum(old, _LEAST_SHARE), np.maximum(new, _LEAST_SHARE)
    return float(((new - old) * np.log(new / old)).sum())


def jensen_shannon(before: Mapping[str, int], now: Mapping[str, int]) -> float:
    """Return the Jensen-Shannon divergence of two counts by name, in bits: from 0, equal, to 1, nothing in common."""
    old, new = _shares(before, now)
    middle = (old + new) / 2
    return float(sum(0.5 * (each[each > 0] * np.log2(each[each > 0] / middle[each > 0])).sum() for each in (old, new)))


def _shares(before: Mapping[str, int], now: Mapping[str, int]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The share of each name of either, in the same order."""
    names = sorted({*before, *now})
    old, new = (np.array([counts.get(name, 0) for name in names], np.float64) for counts in (before, now))
    return old / max(old.sum(), 1), new / max(new.sum(), 1)
