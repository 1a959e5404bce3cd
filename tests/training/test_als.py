from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import sparse

from training.als import AlsSettings, cf_transform, fit_factors, holdout_metrics
from training.interactions import Interactions

SETTINGS = AlsSettings(factors=2, alpha=20.0, regularization=0.01, iterations=15, seed=1)


def checkerboard(size: int) -> NDArray[np.float32]:
    """Users and items of two kinds: everybody likes their own kind."""
    rows = np.arange(size)
    board: NDArray[np.float32] = ((rows[:, None] + rows) % 2 == 0).astype(np.float32)
    return board


def interactions_of(matrix: NDArray[np.float32]) -> Interactions:
    users, items = matrix.nonzero()
    return Interactions(
        user_ids=[f"u{row}" for row in range(matrix.shape[0])],
        item_ids=[f"i{row}" for row in range(matrix.shape[1])],
        users=users.astype(np.int64),
        items=items.astype(np.int64),
        confidence=matrix[users, items],
        last_at=np.random.default_rng(0).permutation(len(users)).astype(np.float64),
    )


class TestFitFactors:
    def test_the_withheld_diagonal_of_a_checkerboard_comes_back(self) -> None:
        full = checkerboard(20)
        seen = full.copy()
        np.fill_diagonal(seen, 0)
        user_factors, item_factors = fit_factors(sparse.csr_matrix(seen), SETTINGS)
        scores = user_factors @ item_factors.T
        assert scores[full == 0].max() < 0.1
        assert np.diag(scores).min() > 0.9

    def test_the_same_matrix_and_seed_give_the_same_bytes(self) -> None:
        matrix = sparse.csr_matrix(checkerboard(30))
        once, again = (fit_factors(matrix, SETTINGS) for _ in range(2))
        assert [factors.tobytes() for factors in once] == [factors.tobytes() for factors in again]

    def test_factors_are_float32(self) -> None:
        factors = fit_factors(sparse.csr_matrix(checkerboard(6)), SETTINGS)
        assert [(each.dtype.name, each.shape) for each in factors] == [("float32", (6, 2))] * 2


class TestHoldoutMetrics:
    def test_a_checkerboard_is_foretold_and_beats_popularity(self) -> None:
        metrics = holdout_metrics(interactions_of(checkerboard(60)), SETTINGS)
        assert (metrics["ndcg_at_10"], metrics["holdout_users"]) == (1.0, 60)
        assert metrics["popularity_ndcg_at_10"] < 0.9

    def test_users_of_few_interactions_cannot_be_held_out(self) -> None:
        assert holdout_metrics(interactions_of(checkerboard(6)), SETTINGS) == {}


class TestCfTransform:
    def test_an_item_that_says_nothing_is_near_zero_and_the_best_are_apart(self) -> None:
        user_factors, item_factors = fit_factors(sparse.csr_matrix(checkerboard(40)), SETTINGS)
        generator = np.random.default_rng(0)
        item_factors = item_factors * generator.uniform(0.2, 1.5, size=(40, 1)).astype(np.float32)
        transform, saturated = cf_transform(user_factors, item_factors, seed=1)
        dots = np.sort((user_factors @ item_factors.T)[0].astype(np.float64))
        feature = 1 / (1 + np.exp(-(dots - float(transform["midpoint"])) / float(transform["scale"])))
        assert transform["kind"] == "logistic"
        assert feature[0] < 0.1
        assert saturated == pytest.approx((feature[-20:] > 0.99).mean(), abs=0.05)
        assert (np.diff(feature) >= 0).all()

    def test_factors_of_nothing_have_a_transform(self) -> None:
        transform, _ = cf_transform(np.zeros((3, 2), np.float32), np.zeros((4, 2), np.float32), seed=1)
        assert float(transform["scale"]) > 0
