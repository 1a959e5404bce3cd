from __future__ import annotations

from typing import cast

import faiss
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from artifacts.embedding_index import EmbeddingIndex
from artifacts.encoder import OnnxEncoder
from artifacts.id_map import IdMap
from artifacts.nearest import allow_reconstruction
from contracts.requests import SearchRequest
from retrieval.columns import AttributeColumns, Change
from retrieval.live_embeddings import LiveEmbeddings
from tests.artifacts.vectors import unit_rows

DIM = 16
TRAINED = 40
EVERY = [f"p{number:02}" for number in range(60)]
VECTORS = unit_rows(5, 200, DIM)
QUERY = unit_rows(6, 1, DIM)[0]
EVERYTHING = SearchRequest(q="tea")


def trained(kind: str = "Flat") -> EmbeddingIndex:
    """An index over the first products; nothing here encodes a query."""
    index = faiss.index_factory(DIM, kind, faiss.METRIC_INNER_PRODUCT)
    index.train(VECTORS)
    index.add(VECTORS[:TRAINED])
    allow_reconstruction(index)
    return EmbeddingIndex(index, IdMap(EVERY[:TRAINED]), cast("OnnxEncoder", None), DIM)


def change(product_id: str, vector: NDArray[np.float32] | None = None, **fields: object) -> Change:
    return {
        "product_id": product_id,
        "stored": True,
        "category": None,
        "price": None,
        "in_stock": True,
        "hidden": False,
        "revision": 1,
        "embedding": None if vector is None else vector.tobytes(),
        **fields,
    }


def gone(product_id: str) -> Change:
    return change(product_id, stored=False)


class Shop:
    """Columns and live embeddings that go together, and the truth beside them."""

    def __init__(self, kind: str = "Flat") -> None:
        self.columns = AttributeColumns()
        self.columns.apply([change(product_id) for product_id in EVERY[:TRAINED]])
        self.live = LiveEmbeddings(trained(kind), self.columns)
        self.truth = dict(zip(EVERY, VECTORS[:TRAINED], strict=False))

    def apply(self, *changes: Change) -> None:
        self.columns.apply(changes)
        self.live.apply(changes)

    def nearest(self, limit: int = 100, **filters: object) -> list[tuple[str, float]]:
        keep = self.columns.passing(SearchRequest.model_validate({"q": "tea", **filters}))
        return self.live.view().nearest(QUERY, limit, keep=keep)

    def exhaustive(self) -> list[tuple[str, float]]:
        scored = [(product, round(float(vector @ QUERY), 6)) for product, vector in self.truth.items()]
        return sorted(scored, key=lambda pair: (-pair[1], pair[0]))


def same(found: list[tuple[str, float]], expected: list[tuple[str, float]]) -> bool:
    """Whether the scores are the same to a unit of the last decimal and each product is where its score is."""
    pairs = sorted(found), sorted(expected)
    return [one for one, _ in pairs[0]] == [one for one, _ in pairs[1]] and np.allclose(
        [score for _, score in pairs[0]], [score for _, score in pairs[1]], atol=2e-6
    )


class TestNearest:
    def test_a_new_product_is_found(self) -> None:
        shop = Shop()
        shop.apply(change("new", QUERY))
        assert shop.nearest(2)[0] == ("new", 1.0)
        assert shop.live.live == 1

    def test_a_product_whose_text_changed_is_found_where_it_is_now(self) -> None:
        shop = Shop()
        shop.apply(change("p03", QUERY))
        found = shop.nearest()
        assert found[0] == ("p03", 1.0)
        assert len(found) == TRAINED, "and only there"
        assert (shop.live.live, shop.live.tombstones) == (1, 1)

    def test_a_price_moves_nothing(self) -> None:
        shop = Shop()
        before = shop.nearest()
        shop.apply(change("p03", VECTORS[3], price=5), change("p04", price=7))
        assert shop.nearest() == before
        assert (shop.live.live, shop.live.tombstones) == (0, 0)

    @pytest.mark.parametrize("kind", ["SQ8", "HNSW8", "IVF4,Flat"])
    def test_a_price_moves_nothing_whatever_the_index(self, kind: str) -> None:
        shop = Shop(kind)
        shop.apply(change("p03", VECTORS[3], price=5))
        assert (shop.live.live, shop.live.tombstones) == (0, 0)

    def test_a_deleted_product_leaves_its_place_to_others(self) -> None:
        shop = Shop()
        first, second = (product for product, _ in shop.nearest(2))
        shop.apply(gone(first))
        assert shop.nearest(1)[0][0] == second
        assert len(shop.nearest()) == TRAINED - 1

    def test_so_does_a_new_one_that_is_deleted_again(self) -> None:
        shop = Shop()
        shop.apply(change("new", QUERY))
        shop.apply(gone("new"))
        assert "new" not in dict(shop.nearest())

    def test_a_hidden_product_never_takes_a_place(self) -> None:
        shop = Shop()
        shop.apply(change("new", QUERY, hidden=True), change("p03", VECTORS[3], hidden=True))
        assert {"new", "p03"} & dict(shop.nearest()).keys() == set()

    def test_a_product_that_came_back_without_a_vector_has_its_trained_one(self) -> None:
        """What is found depends on the catalogue, not on how much of its history was seen."""
        seen_both, seen_last = Shop(), Shop()
        seen_both.apply(gone("p03"))
        seen_both.apply(change("p03"))
        seen_last.apply(change("p03"))
        assert seen_both.nearest() == seen_last.nearest()

    def test_filters_hold_for_trained_and_new_alike(self) -> None:
        shop = Shop()
        shop.apply(change("p03", VECTORS[3], category="cup"), change("new", VECTORS[50], category="cup"))
        assert sorted(dict(shop.nearest(category="cup"))) == ["new", "p03"]

    def test_a_trained_product_that_the_columns_meet_only_now_is_found(self) -> None:
        columns = AttributeColumns()
        live = LiveEmbeddings(trained(), columns)
        changes = [change("p03", VECTORS[3])]
        columns.apply(changes)
        live.apply(changes)
        found = live.view().nearest(QUERY, 10, keep=columns.passing(SearchRequest(q="tea")))
        assert [product for product, _ in found] == ["p03"]

    def test_without_columns_every_product_is_looked_at(self) -> None:
        assert len(LiveEmbeddings(trained(), None).view().nearest(QUERY, 100)) == TRAINED

    def test_a_vector_of_another_length_is_passed_over(self) -> None:
        shop = Shop()
        shop.apply(change("new", np.ones(3, dtype=np.float32)))
        assert "new" not in dict(shop.nearest())

    def test_a_view_stays_as_it_was(self) -> None:
        shop = Shop()
        view, keep = shop.live.view(), shop.columns.passing(SearchRequest(q="tea"))
        before = view.nearest(QUERY, 100, keep=keep)
        shop.apply(gone("p03"), change("new", QUERY), *(change(str(number), VECTORS[number]) for number in range(90)))
        assert view.nearest(QUERY, 100, keep=keep) == before

    @settings(max_examples=60, deadline=None)
    @given(
        steps=st.lists(st.tuples(st.sampled_from(EVERY), st.integers(-1, 199)), max_size=60),
        page=st.integers(1, 9),
        limit=st.integers(1, 70),
    )
    def test_it_agrees_with_exhaustive_search(self, steps: list[tuple[str, int]], page: int, limit: int) -> None:
        """Each step deletes a product, or gives it one of the vectors."""
        shop = Shop()
        changes = []
        for product_id, vector in steps:
            shop.truth.pop(product_id, None)
            if vector >= 0:
                shop.truth[product_id] = VECTORS[vector]
            changes.append(gone(product_id) if vector < 0 else change(product_id, VECTORS[vector]))
        for start in range(0, len(changes), page):
            shop.apply(*changes[start : start + page])
        expected = shop.exhaustive()
        assert same(shop.nearest(), expected)
        found = shop.nearest(limit)
        assert found == shop.nearest()[:limit]

    def test_replicas_that_saw_the_changes_in_other_pieces_answer_the_same(self) -> None:
        """Of the final state that is: each saw a state of the catalogue, not a history."""
        generator = np.random.default_rng(1)
        changes = [change(EVERY[number % 60], VECTORS[generator.integers(200)]) for number in range(500)]
        last = {row["product_id"]: row for row in changes}
        one, other = Shop(), Shop()
        for row in changes:
            one.apply(row)
        other.apply(*reversed(last.values()))
        assert one.nearest() == other.nearest()
        assert one.live.live == other.live.live

    def test_what_no_longer_stands_for_a_product_is_dropped_in_time(self) -> None:
        shop = Shop()
        for number in range(2000):
            shop.apply(change("new", VECTORS[number % 200]))
        assert shop.live.live == 1
        assert shop.live.nbytes < 200_000


class TestVectors:
    def test_they_are_the_newest_and_the_unknown_and_deleted_have_none(self) -> None:
        shop = Shop()
        shop.apply(change("p03", QUERY), gone("p04"), change("new", VECTORS[99]))
        found = shop.live.view().vectors(["new", "p03", "p04", "p05", "unheard of"])
        np.testing.assert_array_equal(found, [VECTORS[99], QUERY, VECTORS[5]])


class TestCosines:
    @pytest.mark.parametrize("kind", ["Flat", "IVF4,SQ8"])
    def test_they_are_the_scores_that_nearest_gives(self, kind: str) -> None:
        shop = Shop(kind)
        shop.apply(change("p03", VECTORS[98]), gone("p04"), change("new", VECTORS[99]))
        view = shop.live.view()
        nearest = dict(view.nearest(QUERY, 100, keep=None if kind == "Flat" else shop.columns.passing(EVERYTHING)))
        found = view.cosines([*sorted(nearest), "p04", "unheard of"], QUERY)
        assert found.keys() == nearest.keys()
        assert found == pytest.approx(nearest, abs=1e-5 if kind == "Flat" else 1e-4)

    def test_a_view_does_not_see_what_is_applied_later(self) -> None:
        shop = Shop()
        shop.apply(change("new", VECTORS[99]))
        view = shop.live.view()
        before = view.cosines(["new", "p03"], QUERY)
        shop.apply(gone("new"), change("p03", QUERY), change("newer", QUERY))
        assert view.cosines(["new", "p03", "newer"], QUERY) == before
        assert shop.live.view().cosines(["new", "p03", "newer"], QUERY) == {"p03": 1.0, "newer": 1.0}

    def test_nothing_asked_for_is_nothing_found(self) -> None:
        assert Shop().live.view().cosines([], QUERY) == {}
