from __future__ import annotations

import numpy as np
import pytest

from evaluation.metrics import ndcg, recall


class TestNdcg:
    def test_all_relevant_items_first_is_one(self) -> None:
        assert ndcg(np.array([[True, True, False]]), np.array([2]), at=3).tolist() == [1.0]

    def test_more_relevant_items_than_ranks_can_still_be_perfect(self) -> None:
        assert ndcg(np.array([[True, True]]), np.array([9]), at=2).tolist() == [1.0]

    def test_a_lone_hit_at_the_second_rank_is_discounted(self) -> None:
        assert ndcg(np.array([[False, True]]), np.array([1]), at=2).tolist() == [pytest.approx(1 / np.log2(3))]

    def test_a_hit_beyond_the_ranks_that_count_is_none(self) -> None:
        assert ndcg(np.array([[False, True]]), np.array([1]), at=1).tolist() == [0.0]


class TestRecall:
    def test_it_is_the_share_found(self) -> None:
        hits = np.array([[True, False, True], [False, False, True]])
        assert recall(hits, np.array([4, 1]), at=2).tolist() == [0.25, 0.0]
