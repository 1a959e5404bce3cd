"""Factors by alternating least squares over implicit feedback."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
from implicit.cpu.als import AlternatingLeastSquares
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from evaluation.holdout import last_of_each_user
from evaluation.recommendation import SparseMatrix, recommendation_metrics
from training.interactions import Interactions

HOLDOUT_SHARE = 0.2
HOLDOUT_AT_LEAST = 5
_EVALUATED_USERS = 2000
_SAMPLED_USERS = 500


@dataclass(frozen=True)
class AlsSettings:
    """
    How to fit.

    The defaults were the best compromise over MovieLens-100K (films), X-Wines (a few ratings a user) and Online
    Retail (repeated purchases); docs/training.md has the figures.
    """

    factors: int = 32
    alpha: float = 1.0
    regularization: float = 10.0
    iterations: int = 15
    seed: int = 7

    def as_parameters(self) -> dict[str, float]:
        """As a manifest records it."""
        return asdict(self)


def fit_factors(matrix: SparseMatrix, settings: AlsSettings) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """
    Return user and item factors, float32 of shape (users, factors) and (items, factors).

    Args:
        matrix: CSR matrix (users, items) of confidences above 0. The same matrix and settings give the same bytes:
            one thread, and a seed.
        settings: How to fit.

    Source:
        Hu, Koren, Volinsky, "Collaborative Filtering for Implicit Feedback Datasets", 2008; solved by conjugate
        gradient as in Takács, Pilászy, Tikk, "Applications of the conjugate gradient method for implicit feedback
        collaborative filtering", 2011.
    """
    with threadpool_limits(limits=1, user_api="blas"):
        model = AlternatingLeastSquares(
            factors=settings.factors,
            alpha=settings.alpha,
            regularization=settings.regularization,
            iterations=settings.iterations,
            random_state=settings.seed,
            num_threads=1,
            dtype=np.float32,
        )
        model.fit(matrix, show_progress=False)
    return (
        np.ascontiguousarray(model.user_factors, dtype=np.float32),
        np.ascontiguousarray(model.item_factors, dtype=np.float32),
    )


def holdout_metrics(interactions: Interactions, settings: AlsSettings) -> dict[str, float]:
    """
    Fit without the last fifth of each user's interactions and see how well they are found; beside it, popularity.

    Returns:
        ``ndcg_at_10``, ``recall_at_20``, the same with the prefix ``popularity_`` for the most popular items, and
        ``holdout_users``; empty where no user has at least five interactions.
    """
    withheld = last_of_each_user(
        interactions.users, interactions.last_at, share=HOLDOUT_SHARE, at_least=HOLDOUT_AT_LEAST
    )
    users = np.unique(interactions.users[withheld])
    if not len(users):
        return {}
    users = np.sort(np.random.default_rng(settings.seed).permutation(users)[:_EVALUATED_USERS])
    known, wanted = interactions.matrix(~withheld), interactions.matrix(withheld)
    user_factors, item_factors = fit_factors(known, settings)
    popularity = np.asarray((known > 0).sum(axis=0), dtype=np.float64).ravel()

    def by_factors(batch: NDArray[np.int64]) -> NDArray[np.float32]:
        scores: NDArray[np.float32] = user_factors[batch] @ item_factors.T
        return scores

    def by_popularity(batch: NDArray[np.int64]) -> NDArray[np.float64]:
        return np.broadcast_to(popularity, (len(batch), len(popularity)))

    metrics = recommendation_metrics(by_factors, known, wanted, users)
    baseline = recommendation_metrics(by_popularity, known, wanted, users)
    return metrics | {f"popularity_{name}": value for name, value in baseline.items()} | {"holdout_users": len(users)}


def cf_transform(
    user_factors: NDArray[np.float32], item_factors: NDArray[np.float32], *, seed: int
) -> tuple[dict[str, float | str], float]:
    """
    Return the fixed transform of a dot product into the feature ``cf`` of ranking, and how much of it is saturated.

    A clip to [0, 1] would not do: what a user likes best often scores above 1, so that its order would be lost. The
    transform is ``1 / (1 + exp(-(dot - midpoint) / scale))``. Over all items of a sample of users the median, an item
    that says nothing to the user, becomes 0.05, and the best of fifty items 0.5.

    Returns:
        ``{"kind": "logistic", "midpoint": ..., "scale": ...}`` in units of the dot product, and the share of each
        sampled user's twenty best items whose feature is above 0.99.
    """
    sample = np.random.default_rng(seed).permutation(len(user_factors))[:_SAMPLED_USERS]
    dots = (user_factors[np.sort(sample)] @ item_factors.T).astype(np.float64)
    median, high = np.quantile(dots, [0.5, 0.98])
    scale = max((high - median) / np.log(19), 1e-6)
    transform: dict[str, float | str] = {
        "kind": "logistic",
        "midpoint": round(float(high), 6),
        "scale": round(float(scale), 6),
    }
    best = np.sort(dots, axis=1)[:, -20:]
    return transform, round(float((best > high + scale * np.log(99)).mean()), 4)
