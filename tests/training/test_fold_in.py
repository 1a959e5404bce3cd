"""Serving folds users in as the library that trained the factors would."""

from __future__ import annotations

import numpy as np
import pytest
from implicit.cpu.als import AlternatingLeastSquares
from numpy.typing import NDArray
from scipy import sparse

from artifacts.factors import Factors
from artifacts.fold_in import fold_in
from training.als import AlsSettings, fit_factors

USERS, ITEMS, KINDS = 120, 80, 4
SETTINGS = AlsSettings(factors=8, alpha=1.5, regularization=2.0, iterations=40, seed=3)


def interactions() -> NDArray[np.float32]:
    """Confidences of users of four kinds, who mostly care for items of theirs."""
    generator = np.random.default_rng(5)
    alike = (np.arange(USERS)[:, None] + np.arange(ITEMS)) % KINDS == 0
    seen = generator.random((USERS, ITEMS)) < np.where(alike, 0.6, 0.03)
    weights = generator.choice([0.12, 0.48, 1.0, 1.92, 3.0, 7.0], size=(USERS, ITEMS))
    return np.where(seen, weights, 0).astype(np.float32)


def confidences(row: NDArray[np.float32]) -> dict[str, float]:
    return {f"p{item}": float(row[item]) for item in np.flatnonzero(row)}


@pytest.fixture(scope="module")
def factors() -> Factors:
    users, items = fit_factors(sparse.csr_matrix(interactions()), SETTINGS)
    return Factors(
        [f"u{row}" for row in range(USERS)],
        [f"p{row}" for row in range(ITEMS)],
        users,
        items,
        regularization=SETTINGS.regularization,
        alpha=SETTINGS.alpha,
    )


class TestFoldIn:
    def test_it_is_what_implicit_recalculates(self, factors: Factors) -> None:
        model = AlternatingLeastSquares(
            factors=SETTINGS.factors, alpha=SETTINGS.alpha, regularization=SETTINGS.regularization, num_threads=1
        )
        model.item_factors = factors.item_factors
        matrix = interactions()
        for user in range(0, USERS, 7):
            expected = model.recalculate_user(user, sparse.csr_matrix(matrix[user]))
            folded = fold_in(factors, confidences(matrix[user]))
            assert folded is not None
            np.testing.assert_allclose(folded, expected, rtol=1e-3, atol=1e-4)

    def test_a_training_user_folded_in_is_nearly_as_trained(self, factors: Factors) -> None:
        matrix = interactions()
        for user in range(USERS):
            folded, trained = fold_in(factors, confidences(matrix[user])), factors.user_factors[user]
            assert folded is not None
            cosine = folded @ trained / np.linalg.norm(folded) / np.linalg.norm(trained)
            assert cosine > 0.999
