"""The weighted score: one a candidate, in input order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from contracts.candidates import FloatArray, IntArray

# Scores are whole millionths, so that contributions add up to the score exactly.
MICROS = 1_000_000


@dataclass(frozen=True, slots=True)
class Scores:
    """
    Scores of n candidates, and the parts they are made of.

    Attributes:
        micros: int64, shape (n,), the score in millionths.
        contributions: Feature name to its part of the score in millionths, int64, shape (n,).
        effective_weights: Feature name to the weight that counted, float64, shape (n,); 0 where absent.
    """

    micros: IntArray
    contributions: dict[str, IntArray]
    effective_weights: dict[str, FloatArray]


def score(features: Mapping[str, FloatArray], weights: Mapping[str, float | FloatArray]) -> Scores:
    """
    Return the weighted mean of the features each candidate has.

    An absent feature's weight goes to the present ones, in proportion to theirs. A candidate whose present
    features all weigh nothing scores 0.

    Args:
        features: Name to values in [0, 1], shape (n,); NaN where absent. All of one length.
        weights: Name to weight, at least 0; one for all, or one a candidate, shape (n,). A feature without one weighs
            nothing.

    Returns:
        Scores in input order.
    """
    size = len(next(iter(features.values())))
    present = {name: ~np.isnan(values) for name, values in features.items()}
    total = np.zeros(size)
    for name in features:
        total += np.where(present[name], weights.get(name, 0.0), 0.0)

    micros = np.zeros(size, dtype=np.int64)
    contributions: dict[str, IntArray] = {}
    effective: dict[str, FloatArray] = {}
    for name, values in features.items():
        counts = present[name] & (total > 0)
        effective[name] = np.divide(weights.get(name, 0.0), total, out=np.zeros(size), where=counts)
        parts = np.multiply(effective[name], values, out=np.zeros(size), where=counts)
        contributions[name] = np.rint(parts * MICROS).astype(np.int64)
        micros += contributions[name]
    return Scores(micros=micros, contributions=contributions, effective_weights=effective)
