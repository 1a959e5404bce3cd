from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from evaluation.metrics import LISTED, SparseMatrix, ranking_metrics


def wanted(*rows: list[int], items: int = 40) -> SparseMatrix:
    return sparse.csr_matrix(np.array([[item in row for item in range(items)] for row in rows], dtype=np.float32))


def lists(*rows: list[int]) -> np.ndarray[tuple[int, int], np.dtype[np.int32]]:
    return np.array([[*row, *[-1] * (LISTED - len(row))] for row in rows], dtype=np.int32)


class TestRankingMetrics:
    def test_all_relevant_items_first_is_one(self) -> None:
        found = ranking_metrics(lists([3, 1, 7]), wanted([1, 3]))
        assert {name: values.tolist() for name, values in found.items()} == {
            "ndcg_at_10": [1.0],
            "ndcg_at_20": [1.0],
            "recall_at_20": [1.0],
            "mrr_at_20": [1.0],
            "map_at_20": [1.0],
        }

    def test_a_lone_hit_at_the_second_rank_is_discounted(self) -> None:
        found = ranking_metrics(lists([0, 5]), wanted([5]))
        assert found["ndcg_at_10"].tolist() == [pytest.approx(1 / np.log2(3))]
        assert found["mrr_at_20"].tolist() == [0.5]

    def test_a_hit_beyond_the_ranks_that_count_is_none(self) -> None:
        found = ranking_metrics(lists(list(range(12))), wanted([11]))
        assert (found["ndcg_at_10"][0], found["recall_at_20"][0]) == (0.0, 1.0)

    def test_more_relevant_items_than_ranks_can_still_be_perfect(self) -> None:
        found = ranking_metrics(lists(list(range(20))), wanted(list(range(30))))
        assert found["ndcg_at_20"].tolist() == [1.0]
        assert found["recall_at_20"].tolist() == [pytest.approx(20 / 30)]

    def test_an_empty_list_and_a_list_for_which_nothing_is_relevant_score_nothing(self) -> None:
        found = ranking_metrics(lists([], [1, 2]), wanted([1], []))
        assert all(values.tolist() == [0.0, 0.0] for values in found.values())

    @settings(max_examples=25, deadline=None)
    @given(st.integers(0, 10_000), st.integers(1, 40))
    def test_it_agrees_with_the_definition(self, seed: int, count: int) -> None:
        generator = np.random.default_rng(seed)
        ranked = generator.permuted(np.tile(np.arange(40), (count, 1)), axis=1)[:, :LISTED].astype(np.int32)
        relevant = generator.random((count, 40)) < 0.2
        relevant[:, 0] = True
        hits = np.take_along_axis(relevant, ranked, axis=1)
        discounts = 1 / np.log2(np.arange(2, LISTED + 2))
        best = np.array([discounts[: min(LISTED, total)].sum() for total in relevant.sum(axis=1)])
        found = ranking_metrics(ranked, sparse.csr_matrix(relevant.astype(np.float32)))
        assert found["ndcg_at_20"] == pytest.approx((hits * discounts).sum(axis=1) / best)
        assert found["recall_at_20"] == pytest.approx(hits.sum(axis=1) / relevant.sum(axis=1))
