from __future__ import annotations

from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from storage.connection import Connection
from storage.migrate import migrations
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


class TestRevisions:
    async def revision(self, connection: Connection) -> datetime:
        moment: datetime = await connection.fetchval("select updated_at from products")
        return moment

    async def test_a_change_under_plain_sql_makes_another(self, connection: Connection) -> None:
        await connection.execute("insert into products (id, title) values ('a', 'A')")
        revisions = [await self.revision(connection)]
        for change in (
            "title = 'B'",
            "price = 1",
            "in_stock = false",
            "attributes = '{\"a\": 1}'",
            "updated_at = '1999-01-01', brand = 'B'",
        ):
            await connection.execute(f"update products set {change}")  # noqa: S608 - literals of this test
            revisions.append(await self.revision(connection))
        assert revisions == sorted(set(revisions))

    async def test_within_a_transaction_each_change_makes_another(self, connection: Connection) -> None:
        """Its now() stands still; a reader may have seen the product between the two all the same."""
        async with connection.transaction():
            await connection.execute("insert into products (id, title) values ('a', 'A')")
            first = await self.revision(connection)
            await connection.execute("update products set title = 'B'")
            assert await self.revision(connection) > first

    async def test_a_clock_that_went_back_does_not_take_it_along(self, connection: Connection) -> None:
        ahead = datetime(2100, 1, 1, tzinfo=UTC)
        await connection.execute("insert into products (id, title, updated_at) values ('a', 'A', $1)", ahead)
        await connection.execute("update products set title = 'B'")
        assert await self.revision(connection) == ahead + timedelta(microseconds=1)

    async def test_a_write_that_changes_nothing_leaves_it(self, connection: Connection) -> None:
        await connection.execute("insert into products (id, title) values ('a', 'A')")
        first = await self.revision(connection)
        await connection.execute("update products set title = 'A', updated_at = now() + interval '1 day'")
        assert await self.revision(connection) == first


class TestEmbeddingChanges:
    @pytest.fixture(autouse=True)
    async def _a_product(self, connection: Connection) -> None:
        await connection.execute("insert into products (id, title) values ('a', 'A'), ('b', 'B')")

    async def embed(self, connection: Connection, *, vector: bytes = b"0000", encoder: str = "e1") -> None:
        await connection.execute(
            "insert into product_embeddings (product_id, encoder_version, embedding)"
            " values ('a', $1, $2), ('b', $1, $2)"
            " on conflict (product_id, encoder_version) do update set embedding = excluded.embedding",
            encoder,
            vector,
        )

    async def test_a_vector_is_a_change_of_its_product(self, connection: Connection) -> None:
        await self.embed(connection)
        await self.embed(connection, vector=b"1111")
        await self.embed(connection, encoder="e2")
        assert (await changes(connection))[2:] == [("a", "embed"), ("b", "embed")] * 3

    async def test_the_same_vector_again_is_none(self, connection: Connection) -> None:
        await self.embed(connection)
        await self.embed(connection)
        await connection.execute("update product_embeddings set text_digest = $1", bytes(16))
        assert len(await changes(connection)) == 4

    async def test_the_vectors_of_a_deleted_product_go_with_it_without_a_word(self, connection: Connection) -> None:
        await self.embed(connection)
        await connection.execute("delete from products where id = 'a'")
        assert (await changes(connection))[4:] == [("a", "delete")]
        assert await connection.fetchval("select array_agg(product_id) from product_embeddings") == ["b"]

    async def test_a_training_job_keeps_its_own_out(self, connection: Connection) -> None:
        async with connection.transaction():
            await connection.execute("set local shortlist.bulk_embeddings = 'on'")
            await self.embed(connection)
            await self.embed(connection, vector=b"1111")
        assert len(await changes(connection)) == 2
        await self.embed(connection, vector=b"2222")
        assert len(await changes(connection)) == 4


class TestEventCounts:
    async def test_events_from_before_there_was_a_count_are_counted(self, empty_database_url: str) -> None:
        connection = await asyncpg.connect(empty_database_url)
        try:
            for step in migrations():
                if step.name.startswith("0006"):
                    break
                await connection.execute(step.sql)
            await connection.execute("insert into users (id) values ('often'), ('once'), ('never')")
            await connection.execute(
                "insert into events (id, user_id, product_id, type, occurred_at)"
                " select n::text, case when n < 4 then 'often' else 'once' end, 'p', 'view', now()"
                " from generate_series(1, 4) as n"
            )
            await connection.execute(step.sql)
            rows = await connection.fetch("select id, event_count from users order by id")
        finally:
            await connection.close()
        assert [tuple(row) for row in rows] == [("never", 0), ("often", 3), ("once", 1)]


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
