from __future__ import annotations

from dataclasses import replace

import faiss
import numpy as np
import pytest

from artifacts.index_kind import search_parameters
from tests.artifacts.vectors import unit_rows
from training.errors import QualityTooLow, UnknownIndex
from training.index_build import build_index
from training.index_check import checked_index, recall_of, require_recall, tenth_scores
from training.index_choice import index_plan

ROWS, DIM = 4_000, 32
VECTORS = unit_rows(1, ROWS, DIM)
QUERIES = unit_rows(2, 40, DIM)


class TestTenthScores:
    def test_they_are_those_of_exhaustive_search(self) -> None:
        expected = np.sort(QUERIES @ VECTORS.T, axis=1)[:, -10]
        np.testing.assert_allclose(tenth_scores(VECTORS, QUERIES), expected, atol=1e-6)

    def test_of_fewer_than_ten_the_last_counts(self) -> None:
        expected = (QUERIES @ VECTORS[:3].T).min(axis=1)
        np.testing.assert_allclose(tenth_scores(VECTORS[:3], QUERIES), expected, atol=1e-6)


class TestRecallOf:
    def test_exact_search_finds_all(self) -> None:
        index = build_index(index_plan(ROWS), VECTORS, threads=1)
        assert recall_of(index, VECTORS, QUERIES, tenth_scores(VECTORS, QUERIES)) == 1.0

    def test_of_equal_vectors_any_will_do(self) -> None:
        twins = np.repeat(VECTORS[:5], 20, axis=0)
        index = build_index(index_plan(100), twins, threads=1)
        assert recall_of(index, twins, VECTORS[:5], tenth_scores(twins, VECTORS[:5])) == 1.0

    def test_an_index_over_other_vectors_finds_little(self) -> None:
        index = build_index(index_plan(ROWS), unit_rows(3, ROWS, DIM), threads=1)
        assert recall_of(index, VECTORS, QUERIES, tenth_scores(VECTORS, QUERIES)) < 0.1


class TestCheckedIndex:
    def test_it_is_tuned_to_what_is_wanted_and_no_further(self) -> None:
        plan = index_plan(ROWS, "IVF64,SQ8")
        index = build_index(plan, VECTORS, threads=1)
        figures = checked_index(index, plan, VECTORS, QUERIES, least_recall=0.8)
        assert 1 < search_parameters(index)["nprobe"] < 64
        assert 0.8 <= figures.recall_at_10 < 1
        assert set(figures.metrics()) == {
            "recall_at_10",
            "query_p50_ms",
            "query_p95_ms",
            "exact_p50_ms",
            "exact_p95_ms",
        }

    def test_an_index_that_finds_too_little_is_refused_with_the_figures(self) -> None:
        plan = replace(index_plan(ROWS, "IVF64,SQ8"), steps=(1,))
        with pytest.raises(
            QualityTooLow, match=r"IVF64,SQ8 finds 0\.\d+ of the ten nearest with nprobe 1, at least 0.95"
        ):
            checked_index(build_index(plan, VECTORS, threads=1), plan, VECTORS, QUERIES)

    def test_one_that_stores_too_coarsely_is_refused_however_far_it_looks(self) -> None:
        plan = index_plan(ROWS, "IVF8,PQ4x4")
        with pytest.raises(QualityTooLow, match="with nprobe 8"):
            checked_index(build_index(plan, VECTORS, threads=1), plan, VECTORS, QUERIES)

    @pytest.mark.parametrize("products", [1, 5])
    def test_a_catalogue_of_a_few_passes(self, products: int) -> None:
        index = build_index(index_plan(products), VECTORS[:products], threads=1)
        assert checked_index(index, index_plan(products), VECTORS[:products], QUERIES[:1]).recall_at_10 == 1.0


class TestRequireRecall:
    def test_a_figure_that_is_not_a_number_is_refused(self) -> None:
        with pytest.raises(QualityTooLow):
            require_recall(float("nan"), 0.95, "Flat", {})


class TestBuildIndex:
    @pytest.mark.parametrize("kind", ["nonsense", "IVF5000,Flat", "IVF8,"])
    def test_an_index_that_cannot_be_made_is_refused_with_advice(self, kind: str) -> None:
        with pytest.raises(UnknownIndex, match="Name another"):
            build_index(index_plan(ROWS, kind), VECTORS, threads=1)

    def test_the_same_vectors_give_the_same_bytes(self) -> None:
        plan = index_plan(ROWS, "IVF16,SQ8")
        first, second = (faiss.serialize_index(build_index(plan, VECTORS, threads=1)) for _ in range(2))
        assert bytes(first) == bytes(second)
