from __future__ import annotations

import faiss
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from artifacts import nearest
from artifacts.errors import EmbeddingMismatch
from artifacts.nearest import Mask, allow_reconstruction, best_rows, is_exact, nearest_products
from tests.artifacts.vectors import flat, unit_rows

KINDS = ["Flat", "HNSW16", "IVF16,Flat", "SQ8", "IVF16,SQ8", "HNSW16,SQ8", "PCA32,IVF16,Flat", "IVF16,SQ8,RFlat"]
EXACT = {"Flat", "HNSW16", "IVF16,Flat", "IVF16,SQ8,RFlat"}
ROWS = 3000


def made(kind: str, vectors: NDArray[np.float32]) -> faiss.Index:
    index = faiss.index_factory(vectors.shape[1], kind, faiss.METRIC_INNER_PRODUCT)
    index.train(vectors)
    index.add(vectors)
    allow_reconstruction(index)
    inverted = faiss.try_extract_index_ivf(index)
    if inverted is not None:
        inverted.nprobe = 8
    return index


class TestNearestProducts:
    def test_asking_past_the_catalogue_returns_every_product_once(self) -> None:
        """FAISS pads short results with row -1; those never become candidates."""
        vectors = unit_rows(0, 3, 8)
        found = nearest_products(flat(vectors), ["a", "b", "c"], vectors[0], limit=50)
        assert sorted(product for product, _ in found) == ["a", "b", "c"]

    def test_rows_that_an_inverted_index_does_not_find_never_become_candidates(self) -> None:
        vectors = unit_rows(0, 40, 8)
        index = faiss.IndexIVFFlat(faiss.IndexFlatIP(8), 8, 20, faiss.METRIC_INNER_PRODUCT)
        index.train(vectors)
        index.add(vectors)
        found = nearest_products(index, [f"p{row}" for row in range(40)], vectors[0], limit=30)
        assert 0 < len(found) < 30
        assert found[0][0] == "p0"

    def test_an_empty_index_has_no_products(self) -> None:
        assert nearest_products(faiss.IndexFlatIP(4), [], unit_rows(0, 1, 4)[0], limit=5) == []

    def test_the_product_itself_is_nearest_with_score_one(self) -> None:
        vectors = unit_rows(0, 20, 8)
        assert nearest_products(flat(vectors), [f"p{n}" for n in range(20)], vectors[7], limit=1) == [("p7", 1.0)]

    def test_equal_scores_are_ordered_by_product_id_even_where_the_limit_cuts(self) -> None:
        vectors = np.repeat(unit_rows(0, 1, 8), 100, axis=0)
        product_ids = [f"p{99 - row:02d}" for row in range(100)]
        found = nearest_products(flat(vectors), product_ids, vectors[0], limit=3)
        assert found == [("p00", 1.0), ("p01", 1.0), ("p02", 1.0)]

    @pytest.mark.parametrize(
        "embedding", [np.zeros(7, np.float32), np.zeros(8, np.float64), np.zeros((1, 8), np.float32)]
    )
    def test_a_vector_of_another_shape_or_dtype_is_refused(self, embedding: NDArray[np.float32]) -> None:
        with pytest.raises(EmbeddingMismatch):
            nearest_products(flat(unit_rows(0, 3, 8)), ["a", "b", "c"], embedding, limit=1)

    def test_a_limit_of_nothing_is_refused(self) -> None:
        with pytest.raises(ValueError, match="at least 1"):
            nearest_products(flat(unit_rows(0, 3, 8)), ["a", "b", "c"], unit_rows(0, 1, 8)[0], limit=0)

    @settings(max_examples=50, deadline=None)
    @given(rows=st.integers(1, 60), limit=st.integers(1, 80), seed=st.integers(0, 1000))
    def test_it_agrees_with_exhaustive_search(self, rows: int, limit: int, seed: int) -> None:
        """Vectors of halves: inner products are exact, and tie often."""
        generator = np.random.default_rng(seed)
        vectors = generator.choice(np.array([-0.5, 0.5], np.float32), size=(rows, 4))
        query = generator.choice(np.array([-0.5, 0.5], np.float32), size=4)
        product_ids = [f"p{number}" for number in generator.permutation(rows)]
        scored = zip(product_ids, (vectors @ query).tolist(), strict=True)
        exact = sorted(scored, key=lambda pair: (-pair[1], pair[0]))
        assert nearest_products(flat(vectors), product_ids, query, limit=limit) == exact[:limit]


VECTORS = unit_rows(1, ROWS, 64)
IDS = [f"p{row:04}" for row in range(ROWS)]


class TestMask:
    """The rows looked at are narrowed inside the search, in any kind of index."""

    def exhaustive(self, query: NDArray[np.float32], keep: Mask, limit: int) -> list[str]:
        rows = np.flatnonzero(keep)
        return [IDS[row] for row in rows[np.argsort(-(VECTORS[rows] @ query), kind="stable")][:limit]]

    @pytest.mark.parametrize("kind", KINDS)
    def test_a_rare_group_is_found_whole(self, kind: str) -> None:
        keep = np.zeros(ROWS, dtype=np.bool_)
        keep[[7, 1500, 2999]] = True
        found = nearest_products(made(kind, VECTORS), IDS, VECTORS[42], limit=10, keep=keep)
        assert sorted(product for product, _ in found) == ["p0007", "p1500", "p2999"]

    @pytest.mark.parametrize("share", [0.02, 0.5, 0.99])
    @pytest.mark.parametrize("kind", KINDS)
    def test_a_frequent_group_goes_through_the_index(
        self, kind: str, share: float, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(nearest, "EXHAUSTIVE_ROWS", 0)
        keep = np.random.default_rng(2).random(ROWS) < share
        found = nearest_products(made(kind, VECTORS), IDS, VECTORS[42], limit=10, keep=keep)
        expected = self.exhaustive(VECTORS[42], keep, 10)
        assert len(found) == 10
        assert {product for product, _ in found} <= {IDS[row] for row in np.flatnonzero(keep)}
        least = 10 if kind == "Flat" else 1 if kind.startswith("PCA") else 7
        assert len({product for product, _ in found} & set(expected)) >= least

    @pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.startswith("IVF")])
    def test_a_group_that_lies_away_from_the_query_is_found_whole(
        self, kind: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A category has its own lists; those nearest to the query hold none of it."""
        monkeypatch.setattr(nearest, "EXHAUSTIVE_ROWS", 0)
        likeness = VECTORS @ VECTORS[42]
        keep = likeness < np.quantile(likeness, 0.2)
        index = made(kind, VECTORS)
        faiss.extract_index_ivf(index).nprobe = 1
        assert len(nearest_products(index, IDS, VECTORS[42], limit=400, keep=keep)) == 400

    @pytest.mark.parametrize("exhaustive", [0, 10_000])
    def test_both_ways_give_the_same(self, exhaustive: int, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(nearest, "EXHAUSTIVE_ROWS", exhaustive)
        keep = np.random.default_rng(2).random(ROWS) < 0.3
        found = nearest_products(flat(VECTORS), IDS, VECTORS[42], limit=20, keep=keep)
        assert [product for product, _ in found] == self.exhaustive(VECTORS[42], keep, 20)

    def test_no_row_gives_no_product(self) -> None:
        keep = np.zeros(ROWS, dtype=np.bool_)
        assert nearest_products(flat(VECTORS), IDS, VECTORS[0], limit=3, keep=keep) == []

    def test_equal_scores_are_ordered_by_product_id_even_where_the_limit_cuts(self) -> None:
        vectors = np.repeat(unit_rows(0, 1, 8), 100, axis=0)
        product_ids = [f"p{99 - row:02d}" for row in range(100)]
        keep = np.arange(100) < 90
        found = nearest_products(flat(vectors), product_ids, vectors[0], limit=2, keep=keep)
        assert found == [("p10", 1.0), ("p11", 1.0)]


class TestBestRows:
    def test_a_vectors_score_does_not_depend_on_its_place(self) -> None:
        vectors, query = unit_rows(3, 500, 384), unit_rows(4, 1, 384)[0]
        there = dict(best_rows(vectors, query, limit=500))
        turned = dict(best_rows(vectors[::-1].copy(), query, limit=500))
        assert there == {499 - row: score for row, score in turned.items()}

    def test_ties_at_the_limit_are_all_there(self) -> None:
        vectors = np.repeat(unit_rows(0, 1, 8), 5, axis=0)
        assert sorted(row for row, _ in best_rows(vectors, vectors[0], limit=2)) == [0, 1, 2, 3, 4]


class TestIsExact:
    @pytest.mark.parametrize("kind", KINDS)
    def test_an_index_that_stores_vectors_coarsely_is_not(self, kind: str) -> None:
        assert is_exact(made(kind, unit_rows(1, ROWS, 64))) == (kind in EXACT)
