from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from artifacts.id_map import IdMap
from contracts.requests import SearchRequest
from retrieval import columns as columns_module
from retrieval.columns import AttributeColumns, Change
from retrieval.money import exact
from storage.database import Database
from storage.settings import StorageSettings


def change(
    product_id: str,
    *,
    stored: bool = True,
    category: str | None = None,
    price: int | None = None,
    in_stock: bool = True,
    hidden: bool = False,
    revision: int = 1,
) -> Change:
    """A row of ``changed_products``; the price in ten-thousandths."""
    return {
        "product_id": product_id,
        "stored": stored,
        "category": category if stored else None,
        "price": price if stored else None,
        "in_stock": in_stock if stored else None,
        "hidden": hidden if stored else None,
        "revision": revision if stored else None,
        "embedding": None,
    }


def columns(*changes: Change) -> AttributeColumns:
    made = AttributeColumns()
    made.apply(changes)
    return made


def passing(held: AttributeColumns, product_ids: str, **filters: object) -> str:
    """Those of *product_ids*, a letter each, that pass."""
    mask = held.passing(SearchRequest.model_validate({"q": "tea", **filters}))
    slots = held.slots_of(list(product_ids))
    return "".join(product for product, slot in zip(product_ids, slots, strict=True) if slot >= 0 and mask[slot])


class TestPassing:
    def test_a_category_narrows(self) -> None:
        held = columns(change("a", category="tea"), change("b", category="cup"), change("c"))
        assert passing(held, "abc", category="tea") == "a"
        assert passing(held, "abc", category="unheard of") == ""

    def test_bounds_of_price_are_inclusive_and_leave_out_what_has_none(self) -> None:
        held = columns(change("a", price=99_500), change("b", price=100_000), change("c"))
        assert passing(held, "abc", price_min=9.95) == "ab"
        assert passing(held, "abc", price_max=9.95) == "a"
        assert passing(held, "abc", price_max=1e12) == "ab"
        assert passing(held, "abc", price_min=9.9501, price_max=9.9999) == ""

    @given(st.integers(0, 10**14), st.floats(0, 1e12, allow_nan=False))
    def test_prices_compare_as_decimals(self, price: int, bound: float) -> None:
        held = columns(change("a", price=price))
        assert passing(held, "a", price_min=bound) == ("a" if Decimal(price) / 10_000 >= exact(bound) else "")
        assert passing(held, "a", price_max=bound) == ("a" if Decimal(price) / 10_000 <= exact(bound) else "")

    def test_stock_narrows_when_asked_for(self) -> None:
        held = columns(change("a"), change("b", in_stock=False))
        assert passing(held, "ab") == "ab"
        assert passing(held, "ab", in_stock=True) == "a"
        assert passing(held, "ab", in_stock=False) == "b"

    def test_hidden_and_deleted_products_never_pass(self) -> None:
        held = columns(change("a"), change("b", hidden=True), change("c"))
        held.apply([change("c", stored=False), change("d", stored=False)])
        assert passing(held, "abcd") == "a"


class TestApply:
    def test_a_product_keeps_its_slot_when_it_goes_and_comes_back(self) -> None:
        held = columns(change("a"), change("b"))
        before = held.slots_of(["a", "b"]).tolist()
        held.apply([change("a", stored=False)])
        held.apply([change("a", category="cup")])
        assert held.slots_of(["a", "b"]).tolist() == before
        assert passing(held, "ab", category="cup") == "a"

    def test_the_last_of_several_changes_counts_and_twice_is_as_once(self) -> None:
        changes = [change("a", price=1), change("a", price=2, revision=5)]
        held = columns(*changes)
        held.apply(changes)
        assert (len(held), held.revisions(["a"])) == (1, {"a": 5})

    def test_many_more_products_than_there_were_find_room(self) -> None:
        held = columns(change("first"))
        held.apply([change(str(number), revision=number) for number in range(5000)])
        assert held.revisions(["0", "4999", "first"]) == {"0": 0, "4999": 4999, "first": 1}
        assert held.passing(SearchRequest(q="tea")).sum() == 5001

    def test_a_copy_changes_apart(self) -> None:
        held = columns(change("a", category="tea"))
        other = held.copy()
        other.apply([change("a", category="cup"), change("b")])
        assert (len(held), passing(held, "a", category="tea")) == (1, "a")
        assert passing(other, "ab", category="cup") == "a"

    def test_revisions_of_what_is_gone_are_not_told(self) -> None:
        held = columns(change("a"), change("b"))
        held.apply([change("a", stored=False)])
        assert held.revisions(["a", "b", "unheard of"]) == {"b": 1}


class TestSlots:
    def test_all_of_a_map_are_found_those_met_later_too(self) -> None:
        held = columns(change("a"), change("b"))
        assert held.slots_of_all(IdMap(["b", "unheard of", "a"])).tolist() == [1, -1, 0]
        assert held.later_than(1) == [("b", 1)]


class TestLoad:
    async def test_everything_is_read_page_by_page(self, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(columns_module, "PAGE", 2)
        held, _ = await AttributeColumns.load(database)
        assert len(held) == held.products == 5
        mask = held.passing(SearchRequest(q="tea", category="Drinks", price_min=0.95, price_max=2))
        assert mask[held.slots_of(["p1", "p2", "p3"])].tolist() == [True, True, False]
        rows = await database.fetch("products_by_id", ["p1"])
        epoch = datetime(1970, 1, 1, tzinfo=UTC)
        revision = round((rows.records[0]["updated_at"] - epoch).total_seconds() * 1_000_000)
        assert held.revisions(["p1"]) == {"p1": revision}

    async def test_an_empty_catalogue_has_no_slot(self, database_url: str) -> None:
        empty = Database(StorageSettings(database_url), application="tests")
        await empty.start()
        assert len((await AttributeColumns.load(empty))[0]) == 0
        await empty.close()
