from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.candidates import Retrieved, RetrieverName
from retrieval.fusion import fuse

NAMES: tuple[RetrieverName, ...] = ("keyword", "semantic", "collaborative")
ids = st.lists(st.sampled_from("abcdefgh"), unique=True, max_size=8)


def ranked(retriever: RetrieverName, product_ids: list[str]) -> Retrieved:
    scores = np.linspace(1, 0.5, len(product_ids))
    return Retrieved(retriever, product_ids, scores, truncated=False, source="test")


def naive(lists: list[list[str]], k: int) -> dict[str, float]:
    every = {product_id for one in lists for product_id in one}
    best = sum(1 / (k + 1) for _ in lists)
    return {
        product_id: sum(1 / (k + one.index(product_id) + 1) for one in lists if product_id in one) / best
        for product_id in every
    }


class TestFuse:
    @given(st.lists(ids, min_size=1, max_size=3), st.integers(0, 100))
    def test_agrees_with_the_formula_written_out(self, lists: list[list[str]], k: int) -> None:
        fused = fuse([ranked(name, one) for name, one in zip(NAMES, lists, strict=False)], k=k)
        expected = naive(lists, k)
        assert dict(zip(fused.product_ids, fused.rrf, strict=True)) == pytest.approx(expected)
        assert fused.product_ids == sorted(expected, key=lambda one: (-round(expected[one], 12), one)) or len(lists) > 1

    @given(st.lists(ids, min_size=1, max_size=3))
    def test_scores_fall_and_stay_within_0_and_1(self, lists: list[list[str]]) -> None:
        fused = fuse([ranked(name, one) for name, one in zip(NAMES, lists, strict=False)])
        assert list(fused.rrf) == sorted(fused.rrf, reverse=True)
        assert all(0 < score <= 1 for score in fused.rrf)

    def test_first_in_every_list_is_1(self) -> None:
        fused = fuse([ranked("keyword", ["a", "b"]), ranked("semantic", ["a", "c"])])
        assert (fused.product_ids[0], fused.rrf[0]) == ("a", 1.0)

    def test_equal_scores_go_by_product_id(self) -> None:
        assert fuse([ranked("keyword", ["b"]), ranked("semantic", ["a"])]).product_ids == ["a", "b"]

    def test_says_where_each_retriever_placed_each_product(self) -> None:
        fused = fuse([ranked("keyword", ["a", "b"]), ranked("semantic", ["b"])])
        row = fused.product_ids.index("a")
        assert fused.placings["keyword"].ranks[row] == 1
        assert fused.placings["semantic"].ranks[row] == 0
        assert np.isnan(fused.placings["semantic"].scores[row])

    def test_no_list_gives_no_product(self) -> None:
        assert fuse([]).product_ids == []
