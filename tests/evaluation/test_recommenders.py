"""What holds of every recommender, and what each is for."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import sparse

from evaluation.baselines import BprSettings, ItemKnnRecommender, baselines, bpr
from evaluation.metrics import SparseMatrix
from evaluation.recommenders import FactorRecommender, PopularityRecommender, RandomRecommender, Recommender

USERS, ITEMS = 30, 24


def known() -> SparseMatrix:
    """Users of two kinds, each with half of what their kind likes."""
    generator = np.random.default_rng(0)
    kinds = (np.arange(USERS)[:, None] + np.arange(ITEMS)) % 2 == 0
    return sparse.csr_matrix((kinds & (generator.random((USERS, ITEMS)) < 0.5)).astype(np.float32))


def by_random_factors(matrix: SparseMatrix) -> Recommender:
    generator = np.random.default_rng(1)
    users, items = (generator.random((count, 3), dtype=np.float32) for count in matrix.shape)
    return FactorRecommender(users, items)


MAKERS: dict[str, Callable[[SparseMatrix], Recommender]] = {
    "factors": by_random_factors,
    "popularity": PopularityRecommender,
    "random": lambda matrix: RandomRecommender(matrix.shape[1]),
    "item-kNN": ItemKnnRecommender,
    "BPR": lambda matrix: bpr(matrix, BprSettings(factors=4, iterations=10)),
}


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
class TestEveryRecommender:
    def test_lists_what_is_unknown_and_nothing_twice(self, make: Callable[[SparseMatrix], Recommender]) -> None:
        users = np.array([3, 0, 29])
        matrix = known()
        lists = make(matrix).recommend(users, matrix[users], 10)
        assert lists.shape == (3, 10)
        assert lists.dtype == np.int32
        for user, row in zip(users, lists, strict=True):
            listed = row[row >= 0]
            assert len(set(listed.tolist())) == len(listed)
            assert not matrix[user].toarray()[0, listed].any()
            assert (row[len(listed) :] == -1).all()

    def test_a_list_longer_than_what_is_left_ends_with_nothing(
        self, make: Callable[[SparseMatrix], Recommender]
    ) -> None:
        matrix = known()
        lists = make(matrix).recommend(np.array([0]), matrix[:1], 40)
        assert (lists >= 0).sum() <= ITEMS - matrix[:1].nnz
        assert lists.shape == (1, 40)


class TestFactorRecommender:
    def test_it_is_exhaustive_search(self) -> None:
        generator = np.random.default_rng(2)
        users, items = (generator.standard_normal((count, 8)).astype(np.float32) for count in (50, 300))
        nothing = sparse.csr_matrix((50, 300), dtype=np.float32)
        lists = FactorRecommender(users, items).recommend(np.arange(50), nothing, 20)
        expected = np.argsort(-(users @ items.T), axis=1)[:, :20]
        assert lists.tolist() == expected.tolist()


class TestPopularityRecommender:
    def test_it_counts_users_not_confidences(self) -> None:
        matrix = sparse.csr_matrix(np.array([[0, 9, 1, 0], [0, 0, 1, 0], [1, 0, 0, 0]], dtype=np.float32))
        lists = PopularityRecommender(matrix).recommend(np.array([2]), matrix[[2]], 2)
        assert lists.tolist() == [[2, 1]]


class TestRandomRecommender:
    def test_the_same_seed_gives_the_same_lists_whoever_else_asks(self) -> None:
        nothing: NDArray[np.float32] = np.zeros((2, 100), np.float32)
        recommender, matrix = RandomRecommender(100, seed=3), sparse.csr_matrix(nothing)
        both = recommender.recommend(np.array([5, 6]), matrix, 10)
        alone = recommender.recommend(np.array([6]), matrix[:1], 10)
        assert both[1].tolist() == alone[0].tolist()
        assert both[0].tolist() != both[1].tolist()


class TestItemKnnRecommender:
    def test_it_finds_the_own_kind(self) -> None:
        matrix = known()
        lists = ItemKnnRecommender(matrix).recommend(np.arange(USERS), matrix, 3)
        assert all((user + item) % 2 == 0 for user, row in enumerate(lists.tolist()) for item in row if item >= 0)


class TestBaselines:
    def test_they_come_with_their_names(self) -> None:
        assert [name for name, _ in baselines(known())] == ["random", "popularity", "item-kNN", "BPR"]
