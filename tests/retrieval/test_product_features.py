from __future__ import annotations

import asyncpg
import pytest

from contracts.requests import ReadRequest
from retrieval.product_features import still_shown
from storage.database import Database

IDS = ["p1", "p2", "p3", "p4"]


async def rows(database: Database) -> list[asyncpg.Record]:
    return sorted((await database.fetch("products_by_id", IDS)).records, key=lambda row: row["id"])


async def shown(database: Database, **fields: object) -> list[str]:
    request = ReadRequest.model_validate(fields)
    return [row["id"] for row in still_shown(await rows(database), request)]


class TestStillShown:
    async def test_everything_that_can_be_bought_in_the_order_given(self, database: Database) -> None:
        backwards = list(reversed(await rows(database)))
        assert [row["id"] for row in still_shown(backwards, ReadRequest())] == ["p3", "p2", "p1"]

    @pytest.mark.parametrize(
        "change",
        [
            "delete from products where id = 'p1'",
            "update products set hidden = true where id = 'p1'",
            "update products set in_stock = false where id = 'p1'",
        ],
        ids=["deleted", "hidden", "sold out"],
    )
    async def test_what_must_not_be_shown_any_more_is_dropped(self, own_database: Database, change: str) -> None:
        assert await shown(own_database) == ["p1", "p2", "p3"]
        async with own_database.transaction() as connection:
            await connection.execute(change)
        assert await shown(own_database) == ["p2", "p3"]
        assert await shown(own_database, in_stock=True) == ["p2", "p3"]

    async def test_what_no_longer_passes_the_filters_is_dropped(self, own_database: Database) -> None:
        assert await shown(own_database, category="Drinks", price_max=1) == ["p1"]
        async with own_database.transaction() as connection:
            await connection.execute("update products set price = 1.5 where id = 'p1'")
            await connection.execute("update products set category = 'Films' where id = 'p2'")
        assert await shown(own_database, category="Drinks", price_max=1) == []
        assert await shown(own_database, category="Films") == ["p2", "p3"]

    async def test_a_product_without_a_price_passes_no_price_bound(self, own_database: Database) -> None:
        async with own_database.transaction() as connection:
            await connection.execute("update products set price = null where id = 'p1'")
        assert await shown(own_database, price_min=0) == ["p2", "p3"]
        assert await shown(own_database) == ["p1", "p2", "p3"]

    async def test_what_is_out_of_stock_is_shown_to_who_asked_for_it(self, database: Database) -> None:
        assert await shown(database, in_stock=False) == ["p4"]
