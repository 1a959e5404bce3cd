"""Raw values to features in [0, 1], by transforms that never look at the other candidates."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from contracts.candidates import FloatArray


def freshness(age_days: FloatArray, *, half_life_days: float) -> FloatArray:
    """
    Return 1 for a product made today, one half at the half-life, towards 0 with age.

    Args:
        age_days: Whole days, shape (n,); NaN where unknown. Below 0 counts as 0.
        half_life_days: Above 0.

    Returns:
        Shape (n,), in (0, 1]; NaN where the age is unknown.
    """
    return np.asarray(np.exp2(-np.maximum(age_days, 0.0) / half_life_days))


def affinity(user_vector: npt.NDArray[np.float32], item_factors: npt.NDArray[np.float32]) -> FloatArray:
    """
    Return the preference a factor model predicts for each item.

    Args:
        user_vector: float32, shape (factors,).
        item_factors: float32, shape (n, factors).

    Returns:
        Dot products, float64, shape (n,), each summed on its own, so that a row's value does not depend on the others.

    Source:
        Hu, Koren, Volinsky, "Collaborative Filtering for Implicit Feedback Datasets", 2008.
    """
    return np.asarray((item_factors.astype(np.float64) * user_vector.astype(np.float64)).sum(axis=1))


def collaborative(dots: FloatArray, transform: Mapping[str, object]) -> FloatArray:
    """
    Return predicted preferences as a feature in [0, 1], by the transform the factors' version was trained with.

    Args:
        dots: Predicted preferences, shape (n,), NaN where absent.
        transform: ``{"kind": "clip"}``, or ``{"kind": "logistic", "midpoint": m, "scale": s}`` with s above 0.

    Raises:
        ValueError: the transform is of a kind this version of the code does not know.
    """
    kind = transform.get("kind")
    if kind == "clip":
        return np.clip(dots, 0.0, 1.0)
    if kind == "logistic":
        midpoint, scale = float(str(transform["midpoint"])), float(str(transform["scale"]))
        return np.asarray(1.0 / (1.0 + np.exp(-(dots - midpoint) / scale)))
    raise ValueError(f"unknown cf_transform {kind!r}; serve this artifact with the code that trained it, or retrain it")
