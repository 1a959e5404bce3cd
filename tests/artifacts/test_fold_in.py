from __future__ import annotations

import numpy as np
import pytest

from artifacts.factors import Factors
from artifacts.fold_in import fold_in

ITEMS = ["p1", "p2", "p3", "p4"]


@pytest.fixture
def factors() -> Factors:
    """Items of two kinds."""
    return Factors(
        user_ids=["u"],
        item_ids=ITEMS,
        user_factors=np.ones((1, 2), dtype=np.float32),
        item_factors=np.array([[0.9, 0.1], [0.7, 0.0], [0.1, 0.9], [0.0, 0.7]], dtype=np.float32),
        regularization=0.1,
        alpha=2.0,
    )


class TestFoldIn:
    def test_it_solves_the_equation_of_the_paper(self, factors: Factors) -> None:
        items = factors.item_factors.astype(np.float64)
        confidence = np.diag([6.0, 1.0, 1.0, 2.0])
        preference = np.array([1.0, 0.0, 0.0, 1.0])
        expected = np.linalg.solve(items.T @ confidence @ items + 0.1 * np.eye(2), items.T @ confidence @ preference)
        found = fold_in(factors, {"p1": 3.0, "p4": 1.0})
        assert found is not None
        np.testing.assert_allclose(found, expected, rtol=1e-6)

    def test_a_user_of_one_kind_prefers_that_kind(self, factors: Factors) -> None:
        vector = fold_in(factors, {"p2": 1.0})
        assert vector is not None
        scores = factors.item_factors @ vector
        assert [ITEMS[row] for row in np.argsort(-scores)[:2]] == ["p1", "p2"]

    def test_the_order_of_interactions_does_not_matter(self, factors: Factors) -> None:
        once, again = fold_in(factors, {"p1": 1.5, "p3": 0.3}), fold_in(factors, {"p3": 0.3, "p1": 1.5})
        assert once is not None
        assert again is not None
        assert once.tobytes() == again.tobytes()

    def test_items_the_version_does_not_know_are_passed_over(self, factors: Factors) -> None:
        known, more = fold_in(factors, {"p1": 1.0}), fold_in(factors, {"p1": 1.0, "new": 9.0})
        np.testing.assert_array_equal(known, more)

    @pytest.mark.parametrize("confidences", [{}, {"new": 3.0}, {"p1": 0.0}])
    def test_where_nothing_is_known_there_is_no_vector(self, factors: Factors, confidences: dict[str, float]) -> None:
        assert fold_in(factors, confidences) is None
