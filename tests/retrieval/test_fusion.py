from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.candidates import Retrieved, RetrieverName
from retrieval.fusion import blend, fuse

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
        assert dict(zip(fused.product_ids, fused.scores, strict=True)) == pytest.approx(expected)
        assert fused.product_ids == sorted(expected, key=lambda one: (-round(expected[one], 12), one)) or len(lists) > 1

    @given(st.lists(ids, min_size=1, max_size=3))
    def test_scores_fall_and_stay_within_0_and_1(self, lists: list[list[str]]) -> None:
        fused = fuse([ranked(name, one) for name, one in zip(NAMES, lists, strict=False)])
        assert list(fused.scores) == sorted(fused.scores, reverse=True)
        assert all(0 < score <= 1 for score in fused.scores)

    def test_first_in_every_list_is_1(self) -> None:
        fused = fuse([ranked("keyword", ["a", "b"]), ranked("semantic", ["a", "c"])])
        assert (fused.product_ids[0], fused.scores[0]) == ("a", 1.0)

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


def relevant(retriever: RetrieverName, relevance: dict[str, float]) -> Retrieved:
    values = np.array(list(relevance.values()))
    return Retrieved(retriever, list(relevance), values, truncated=False, source="test", relevance=values)


relevances = st.dictionaries(st.sampled_from("abcdefgh"), st.floats(0, 1), max_size=8)
WEIGHTS: dict[RetrieverName, float] = {"keyword": 0.4, "semantic": 0.6}


class TestBlend:
    @given(relevances, relevances)
    def test_agrees_with_the_formula_written_out(self, keyword: dict[str, float], semantic: dict[str, float]) -> None:
        fused = blend([relevant("keyword", keyword), relevant("semantic", semantic)], weights=WEIGHTS)
        every = keyword.keys() | semantic.keys()
        expected = {one: 0.4 * keyword.get(one, 0) + 0.6 * semantic.get(one, 0) for one in every}
        assert dict(zip(fused.product_ids, fused.scores, strict=True)) == pytest.approx(expected)
        assert list(fused.scores) == sorted(fused.scores, reverse=True)
        assert all(0 <= score <= 1 + 1e-9 for score in fused.scores)

    def test_one_list_alone_keeps_its_relevance(self) -> None:
        fused = blend([relevant("semantic", {"a": 0.5, "b": 0.75})], weights=WEIGHTS)
        assert (fused.product_ids, list(fused.scores)) == (["b", "a"], [0.75, 0.5])

    def test_what_a_list_says_of_one_product_does_not_move_another(self) -> None:
        few = blend([relevant("keyword", {"a": 0.5}), relevant("semantic", {"a": 0.5})], weights=WEIGHTS)
        more = blend([relevant("keyword", {"a": 0.5, "b": 1.0}), relevant("semantic", {"a": 0.5})], weights=WEIGHTS)
        assert more.scores[more.product_ids.index("a")] == few.scores[0]

    def test_what_a_list_lacks_counts_as_its_retriever_rates_it_elsewhere(self) -> None:
        keyword = relevant("keyword", {"a": 0.5, "b": 0.5})
        semantic = replace(relevant("semantic", {"c": 0.9}), elsewhere={"b": 0.2, "c": 0.1, "nobody's": 1.0})
        fused = blend([keyword, semantic], weights=WEIGHTS)
        found = dict(zip(fused.product_ids, fused.scores, strict=True))
        expected = {"a": 0.4 * 0.5, "b": 0.4 * 0.5 + 0.6 * 0.2, "c": 0.6 * 0.9}
        assert found == pytest.approx(expected)
        row = fused.product_ids.index("b")
        assert fused.placings["semantic"].ranks[row] == 0, "it was not found that way"

    def test_no_list_gives_no_product(self) -> None:
        assert blend([], weights=WEIGHTS).product_ids == []


class TestFirst:
    @given(relevances, relevances, st.integers(1, 9))
    def test_it_is_the_beginning_of_all_there_is(
        self, keyword: dict[str, float], semantic: dict[str, float], limit: int
    ) -> None:
        every = blend([relevant("keyword", keyword), relevant("semantic", semantic)], weights=WEIGHTS)
        first = every.first(limit)
        assert first.product_ids == every.product_ids[:limit]
        assert first.scores.tolist() == every.scores.tolist()[:limit]
        assert {name: placing.ranks.tolist() for name, placing in first.placings.items()} == {
            name: placing.ranks.tolist()[:limit] for name, placing in every.placings.items()
        }
        assert all(len(placing.scores) == len(first.product_ids) for placing in first.placings.values())
