"""The exported encoder against the model it came from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from training.errors import QualityTooLow

LEAST_MEAN_COSINE = 0.98
LEAST_COSINE = 0.94
LARGEST_NDCG_LOSS = 0.02
# Fewer pairs say more of chance than of the encoder.
LEAST_PAIRS = 50
_NEIGHBOURS = 10

_ADVICE = "look at the versions of torch and onnxruntime"

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


def pairs_fidelity(original: Encode, exported: Encode, titles: Sequence[str], rests: Sequence[str]) -> dict[str, float]:
    """
    Return how well either encoder finds, by a product's title, what else is said of that product.

    Args:
        original: The model.
        exported: What it was exported to.
        titles: Length n.
        rests: Length n: each product's text without its title. Empty ones are left out, and of equal ones all but one.

    Returns:
        ``pairs``, and NDCG@10 of the one right text among all: ``pairs_ndcg_at_10`` by the exported encoder,
        ``pairs_ndcg_at_10_original``; nothing but the number where there are no pairs.
    """
    pairs = list({rest: title for title, rest in zip(titles, rests, strict=True) if rest}.items())
    if not pairs:
        return {"pairs": 0}
    documents, queries = [rest for rest, _ in pairs], [title for _, title in pairs]
    return {
        "pairs": len(pairs),
        "pairs_ndcg_at_10": _own_found(exported(queries), exported(documents)),
        "pairs_ndcg_at_10_original": _own_found(original(queries), original(documents)),
    }


def require_fidelity(metrics: Mapping[str, float], *, advice: str = _ADVICE) -> None:
    """
    Refuse an exported encoder that strays from its original.

    Args:
        metrics: As `fidelity` and `pairs_fidelity` give them.
        advice: What to do where it is refused.

    Raises:
        QualityTooLow: mean or least cosine is below its margin, or it ranks the catalogue's own pairs worse by more
            than NDCG@10 0.02.
    """
    for name, least in (("cosine_mean", LEAST_MEAN_COSINE), ("cosine_min", LEAST_COSINE)):
        if not metrics[name] >= least:
            raise QualityTooLow(
                f"The exported encoder strays from the original: {name} is {metrics[name]}, "
                f"at least {least} is needed. Nothing was published; {advice}."
            )
    if metrics.get("pairs", 0) < LEAST_PAIRS:
        return
    found, before = metrics["pairs_ndcg_at_10"], metrics["pairs_ndcg_at_10_original"]
    if not found >= before - LARGEST_NDCG_LOSS:
        raise QualityTooLow(
            f"The exported encoder ranks worse than the original: NDCG@10 {found} against {before}, of texts by their "
            f"titles. Nothing was published; {advice}."
        )


def _own_found(queries: NDArray[np.float32], documents: NDArray[np.float32]) -> float:
    """NDCG@10 where row i of *documents* alone is what row i of *queries* looks for: 1 / log2(1 + its rank)."""
    hits = np.array(_nearest(queries, documents)) == np.arange(len(queries))[:, np.newaxis]
    discounts = 1 / np.log2(np.arange(2, hits.shape[1] + 2))
    return round(float((hits * discounts).sum(axis=1).mean()), 4)


def _nearest(queries: NDArray[np.float32], products: NDArray[np.float32]) -> list[list[int]]:
    order: list[list[int]] = np.argsort(-(queries @ products.T), axis=1, kind="stable")[:, :_NEIGHBOURS].tolist()
    return order
