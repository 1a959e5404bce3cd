from __future__ import annotations

from datetime import UTC, datetime

import asyncpg
import pytest

from storage.connection import Connection
from storage.named_queries import QUERIES


async def changes(connection: Connection) -> list[tuple[str, str]]:
    rows = await connection.fetch("select product_id, operation from product_changes order by transaction, position")
    return [(row["product_id"], row["operation"]) for row in rows]


async def position(connection: Connection) -> str:
    row = await connection.fetchrow(QUERIES["catalogue_position"])
    assert row is not None
    return str(row["position"])


class TestProductChanges:
    async def test_insert_update_and_delete_are_recorded(self, connection: Connection) -> None:
        await connection.execute("insert into products (id, title) values ('a', 'A'), ('b', 'B')")
        await connection.execute("update products set price = 1 where id = 'a'")
        await connection.execute("delete from products where id = 'b'")
        assert await changes(connection) == [("a", "upsert"), ("b", "upsert"), ("a", "upsert"), ("b", "delete")]

    async def test_an_update_that_changes_nothing_is_not_recorded(self, connection: Connection) -> None:
        await connection.execute("insert into products (id, title) values ('a', 'A'), ('b', 'B')")
        await connection.execute("update products set title = 'A', updated_at = now()")
        assert (await changes(connection))[2:] == [("b", "upsert")]

    async def test_a_new_id_is_a_deletion_and_an_insertion(self, connection: Connection) -> None:
        await connection.execute("insert into products (id, title) values ('a', 'A')")
        await connection.execute("update products set id = 'z'")
        assert (await changes(connection))[1:] == [("a", "delete"), ("z", "upsert")]

    async def test_truncation_deletes_every_product(self, connection: Connection) -> None:
        await connection.execute("insert into products (id, title) values ('a', 'A'), ('b', 'B')")
        await connection.execute("truncate products cascade")
        assert (await changes(connection))[2:] == [("a", "delete"), ("b", "delete")]

    async def test_popularity_is_no_change(self, connection: Connection) -> None:
        await connection.execute("insert into product_popularity values ('a', 0.5, 3, 'v')")
        assert await changes(connection) == []


class TestCataloguePosition:
    async def test_it_is_stable_while_the_catalogue_is(self, connection: Connection) -> None:
        assert await position(connection) == "0-0"
        await connection.execute("insert into products (id, title) values ('a', 'A')")
        first = await position(connection)
        await connection.execute("insert into users (id) values ('u')")
        assert first != "0-0"
        assert await position(connection) == first

    async def test_it_waits_for_a_change_that_began_earlier_and_is_still_open(
        self, connection: Connection, database_url: str
    ) -> None:
        """Else a reader that went on from the later change would never see the earlier one."""
        early = await asyncpg.connect(database_url)
        try:
            transaction = early.transaction()
            await transaction.start()
            await early.execute("insert into products (id, title) values ('early', 'E')")
            await connection.execute("insert into products (id, title) values ('late', 'L')")
            assert await position(connection) == "0-0"
            seen = await connection.fetchrow(QUERIES["catalogue_position"])
            assert seen is not None
            assert seen["seen"] == "0-0+1", "a query sees the later change already"
            await transaction.commit()
        finally:
            await early.close()
        last = await connection.fetchval(
            "select transaction::text || '-' || position from product_changes where product_id = 'late'"
        )
        assert await position(connection) == last


class TestSearchVector:
    async def test_every_text_of_a_product_is_in_it_by_weight(self, connection: Connection) -> None:
        await connection.execute(
            "insert into products (id, title, category, brand, description, attributes) "
            """values ('a', 'Stars', 'Film', 'Acme', 'A long voyage', '{"genres": ["Adventure"], "year": 1995}')"""
        )
        vector = await connection.fetchval("select search_vector::text from products")
        assert vector == "'acm':3B 'adventur':4C 'film':2B 'long':6 'star':1A 'voyag':7"


class TestEventPartitions:
    async def insert(self, connection: Connection, event_id: str, moment: datetime) -> str:
        return str(
            await connection.fetchval(
                "insert into events (id, user_id, product_id, type, occurred_at) values ($1, 'u', 'p', 'view', $2) "
                "returning tableoid::regclass::text",
                event_id,
                moment,
            )
        )

    async def test_a_month_nobody_prepared_is_still_accepted(self, connection: Connection) -> None:
        assert await self.insert(connection, "e", datetime(1997, 9, 20, tzinfo=UTC)) == "events_default"

    async def test_making_a_month_moves_its_events_out_of_the_default(self, connection: Connection) -> None:
        await self.insert(connection, "september", datetime(1997, 9, 30, 23, 59, 59, tzinfo=UTC))
        await self.insert(connection, "october", datetime(1997, 10, 1, tzinfo=UTC))
        assert await connection.fetchval("select ensure_event_partition('1997-09-05')")
        rows = await connection.fetch("select id, tableoid::regclass::text as place from events order by id")
        assert [tuple(row) for row in rows] == [("october", "events_default"), ("september", "events_1997_09")]

    async def test_a_range_makes_each_month_once(self, connection: Connection) -> None:
        making = "select ensure_event_partitions('1997-09-20', '1998-04-22')"
        assert [await connection.fetchval(making), await connection.fetchval(making)] == [8, 0]

    async def test_months_are_those_of_utc_whatever_the_session_says(self, connection: Connection) -> None:
        await connection.execute("set timezone to 'Asia/Tokyo'")
        await connection.execute("select ensure_event_partitions('1997-09-01 00:00+00', '1997-09-30 23:00+00')")
        assert await self.insert(connection, "e", datetime(1997, 9, 30, 23, 30, tzinfo=UTC)) == "events_1997_09"

    async def test_an_unknown_type_is_refused(self, connection: Connection) -> None:
        with pytest.raises(asyncpg.CheckViolationError):
            await connection.execute(
                "insert into events (id, user_id, product_id, type, occurred_at) values ('e', 'u', 'p', 'like', now())"
            )
