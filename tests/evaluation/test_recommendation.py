from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from evaluation.recommendation import recommendation_metrics

KNOWN = sparse.csr_matrix(np.array([[1, 0, 0, 0], [0, 1, 0, 0]]))
WITHHELD = sparse.csr_matrix(np.array([[0, 1, 0, 0], [0, 0, 1, 1]]))
USERS = np.array([0, 1])


class TestRecommendationMetrics:
    def test_scores_that_know_the_answer_are_perfect(self) -> None:
        """What is known already scores highest here, and is left out."""

        def oracle(users: NDArray[np.int64]) -> NDArray[np.float64]:
            return np.asarray((WITHHELD + 2 * KNOWN)[users].todense(), dtype=np.float64)

        metrics = recommendation_metrics(oracle, KNOWN, WITHHELD, USERS)
        assert metrics == {"ndcg_at_10": 1.0, "recall_at_20": 1.0}

    def test_known_items_are_never_hits(self) -> None:
        def scores(users: NDArray[np.int64]) -> NDArray[np.float64]:
            return np.zeros((len(users), 4))

        assert recommendation_metrics(scores, WITHHELD, WITHHELD, USERS) == {"ndcg_at_10": 0.0, "recall_at_20": 0.0}
