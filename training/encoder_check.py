"""The exported encoder against the model it came from."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from training.errors import QualityTooLow

LEAST_MEAN_COSINE = 0.98
LEAST_COSINE = 0.94
_NEIGHBOURS = 10

Encode = Callable[[Sequence[str]], NDArray[np.float32]]


def fidelity(original: Encode, exported: Encode, products: Sequence[str], queries: Sequence[str]) -> dict[str, float]:
    """
    Return how closely *exported* follows *original*, both giving unit vectors.

    Returns:
        ``cosine_mean`` and ``cosine_min`` between the two vectors of each text, and ``overlap_at_10``: the share of
        the ten products nearest to a query by the original that are among the ten nearest by the exported encoder.
    """
    by_original, by_exported = original(products), exported(products)
    queries_by_original, queries_by_exported = original(queries), exported(queries)
    cosines = np.concatenate(
        [(by_original * by_exported).sum(axis=1), (queries_by_original * queries_by_exported).sum(axis=1)]
    )
    expected = _nearest(queries_by_original, by_original)
    found = _nearest(queries_by_exported, by_exported)
    shared = [len(set(one) & set(other)) / len(one) for one, other in zip(expected, found, strict=True)]
    return {
        "cosine_mean": round(float(cosines.mean()), 4),
        "cosine_min": round(float(cosines.min()), 4),
        "overlap_at_10": round(float(np.mean(shared)), 4),
    }


def require_fidelity(metrics: dict[str, float]) -> None:
    """
    Refuse an exported encoder that strays from its original.

    Raises:
        QualityTooLow: mean or least cosine is below its margin.
    """
    for name, least in (("cosine_mean", LEAST_MEAN_COSINE), ("cosine_min", LEAST_COSINE)):
        if not metrics[name] >= least:
            raise QualityTooLow(
                f"The exported encoder strays from the original: {name} is {metrics[name]}, "
                f"at least {least} is needed. Nothing was published; look at the versions of torch and onnxruntime."
            )


def _nearest(queries: NDArray[np.float32], products: NDArray[np.float32]) -> list[list[int]]:
    order: list[list[int]] = np.argsort(-(queries @ products.T), axis=1, kind="stable")[:, :_NEIGHBOURS].tolist()
    return order
