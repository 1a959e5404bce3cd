from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import asyncpg

from catalogue.events import Event
from catalogue.impressions import Impression
from catalogue.products import BatchProduct
from catalogue.store import InsertedEvents, delete_product, insert_events, record_impressions, upsert_products
from storage.connection import Connection
from storage.database import Database
from storage.settings import StorageSettings

LONG_AGO = datetime(1999, 1, 1, tzinfo=UTC)


def shown(request_id: str, at: datetime = LONG_AGO) -> Impression:
    return Impression(
        request_id=request_id, kind="search", shown_at=at, product_ids=["a"], ranks=[1], scores=[0.5], query="tea"
    )


def view(event_id: str | None, user_id: str = "u", product_id: str = "p") -> Event:
    return Event(id=event_id, user_id=user_id, product_id=product_id, type="view")


async def changes(connection: Connection) -> list[tuple[str, str]]:
    rows = await connection.fetch("select product_id, operation from product_changes order by transaction, position")
    return [(row["product_id"], row["operation"]) for row in rows]


async def until_somebody_waits(database_url: str) -> None:
    """Return once a session of this database waits for a lock."""
    waiting = "select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
    watch = await asyncpg.connect(database_url)
    try:
        while not await watch.fetch(waiting):  # noqa: ASYNC110 - the server tells nobody
            await asyncio.sleep(0.01)
    finally:
        await watch.close()


class TestUpsertProducts:
    async def test_what_is_left_out_is_cleared_but_for_creation_and_hiding(self, connection: Connection) -> None:
        full = BatchProduct(
            id="1",
            title="A",
            brand="B",
            price=0.1,
            in_stock=False,
            hidden=True,
            created_at=LONG_AGO,
            attributes={"a": 1},
        )
        await upsert_products(connection, [full])
        await upsert_products(connection, [BatchProduct(id="1", title="A")])
        row = await connection.fetchrow(
            "select title, brand, price, in_stock, hidden, created_at, attributes from products"
        )
        assert row is not None
        assert tuple(row) == ("A", None, None, True, True, LONG_AGO, "{}")

    async def test_only_real_changes_are_counted_and_fed(self, connection: Connection) -> None:
        first = BatchProduct(id="1", title="A", price=1.5, attributes={"b": 2, "a": 1})
        second = BatchProduct(id="2", title="B")
        assert await upsert_products(connection, [second, first]) == 2
        same = first.model_copy(update={"attributes": {"a": 1, "b": 2}})
        assert await upsert_products(connection, [same, second.model_copy(update={"title": "C"})]) == 1
        assert await changes(connection) == [("1", "upsert"), ("2", "upsert"), ("2", "upsert")]

    async def test_of_equal_ids_the_last_wins(self, connection: Connection) -> None:
        await upsert_products(connection, [BatchProduct(id="1", title="A"), BatchProduct(id="1", title="B")])
        assert await connection.fetchval("select title from products") == "B"

    async def test_what_another_writer_commits_beside_stays_as_it_was_left(self, database_url: str) -> None:
        hiding, pricing = await asyncpg.connect(database_url), await asyncpg.connect(database_url)
        try:
            await upsert_products(pricing, [BatchProduct(id="1", title="A")])
            transaction = hiding.transaction()
            await transaction.start()
            await upsert_products(hiding, [BatchProduct(id="1", title="A", hidden=True, created_at=LONG_AGO)])
            priced = asyncio.create_task(upsert_products(pricing, [BatchProduct(id="1", title="A", price=5)]))
            await until_somebody_waits(database_url)
            await transaction.commit()
            assert await priced == 1
            row = await hiding.fetchrow("select price, hidden, created_at from products")
            assert row is not None
            assert tuple(row) == (5, True, LONG_AGO)
        finally:
            await asyncio.gather(hiding.close(), pricing.close())

    async def test_nothing_is_nothing(self, connection: Connection) -> None:
        assert await upsert_products(connection, []) == 0

    async def test_it_works_on_a_pooled_connection_too(self, database_url: str) -> None:
        database = Database(StorageSettings(database_url), application="test")
        await database.start()
        async with database.transaction() as connection:
            await upsert_products(connection, [BatchProduct(id="1", title="A", attributes={"a": ["x"]})])
        rows = await database.fetch("products_by_id", ["1"])
        await database.close()
        assert rows.records[0]["attributes"] == {"a": ["x"]}


class TestDeleteProduct:
    async def test_it_says_whether_there_was_one(self, connection: Connection) -> None:
        await upsert_products(connection, [BatchProduct(id="1", title="A")])
        assert [await delete_product(connection, "1"), await delete_product(connection, "1")] == [True, False]
        assert (await changes(connection))[-1] == ("1", "delete")


class TestInsertEvents:
    async def test_an_event_sent_again_counts_once(self, connection: Connection) -> None:
        assert await insert_events(connection, [view("1"), view("2"), view("1")]) == InsertedEvents(2, 1)
        assert await insert_events(connection, [view("2"), view("3")]) == InsertedEvents(1, 1)
        assert await connection.fetchval("select array_agg(id order by id) from events") == ["1", "2", "3"]

    async def test_of_equal_ids_the_first_wins(self, connection: Connection) -> None:
        await insert_events(connection, [view("1", product_id="first"), view("1", product_id="second")])
        assert await connection.fetchval("select product_id from events") == "first"

    async def test_events_without_ids_are_all_kept(self, connection: Connection) -> None:
        assert await insert_events(connection, [view(None), view(None)]) == InsertedEvents(2, 0)

    async def test_users_are_made_on_first_sight(self, connection: Connection) -> None:
        await insert_events(connection, [view("1", "a"), view("2", "b"), view("3", "a")])
        assert await connection.fetchval("select array_agg(id order by id) from users") == ["a", "b"]

    async def test_an_event_of_any_month_is_accepted(self, connection: Connection) -> None:
        event = Event(user_id="u", product_id="p", type="rating", value=5, timestamp=LONG_AGO)
        assert await insert_events(connection, [event]) == InsertedEvents(1, 0)
        assert await connection.fetchval("select occurred_at from events") == LONG_AGO

    async def test_a_users_events_are_counted_once_each(self, connection: Connection) -> None:
        await insert_events(connection, [view("1", "a"), view("2", "b"), view("3", "a"), view("1", "a")])
        await insert_events(connection, [view("3", "a"), view("4", "a")])
        rows = await connection.fetch("select id, event_count from users order by id")
        assert [tuple(row) for row in rows] == [("a", 3), ("b", 1)]

    async def test_writers_of_the_same_users_and_ids_never_block_each_other_for_good(self, database_url: str) -> None:
        """Each takes its locks in one order, whatever the order of its events: a circle would be a deadlock error."""
        events = [view(str(number), user_id=str(number % 50)) for number in range(400)]
        orders = [[events[number * step % 401 - 1] for number in range(1, 401)] for step in (1, 3, 7, 58, 200, 400)]

        async def send(order: list[Event]) -> None:
            connection = await asyncpg.connect(database_url)
            try:
                for start in range(0, len(order), 100):
                    await insert_events(connection, order[start : start + 100])
            finally:
                await connection.close()

        await asyncio.gather(*(send(order) for order in orders))
        connection = await asyncpg.connect(database_url)
        try:
            counts = await connection.fetch(
                "select event_count, (select count(*) from events where user_id = users.id) as kept from users"
            )
        finally:
            await connection.close()
        assert [tuple(row) for row in counts] == [(8, 8)] * 50

    async def test_the_same_batch_from_two_sides_at_once_is_kept_once(self, database_url: str) -> None:
        events = [view(str(number), user_id=str(number % 7)) for number in range(500)]

        async def send(batch: list[Event]) -> InsertedEvents:
            connection = await asyncpg.connect(database_url)
            try:
                async with connection.transaction():
                    return await insert_events(connection, batch)
            finally:
                await connection.close()

        done = await asyncio.gather(*(send(batch) for batch in (events, events[::-1], events)))
        assert sum(inserted.accepted for inserted in done) == 500


class TestRecordImpressions:
    async def test_what_was_shown_is_kept_in_its_order(self, connection: Connection) -> None:
        impression = Impression(
            request_id="r",
            kind="search",
            shown_at=LONG_AGO,
            product_ids=["b", "a"],
            ranks=[1, 2],
            scores=[0.9, 0.1],
            query="tea",
            features=[{"search": 0.5, "cf": None}, {}],
            versions={"index": "v"},
        )
        await record_impressions(connection, [impression])
        row = await connection.fetchrow(
            "select product_ids, ranks, query, user_id, features, versions from impressions"
        )
        assert row is not None
        assert tuple(row) == (
            ["b", "a"],
            [1, 2],
            "tea",
            None,
            '[{"cf": null, "search": 0.5}, {}]',
            '{"index": "v"}',
        )

    async def test_what_is_sent_again_is_kept_once(self, connection: Connection) -> None:
        """Of a write that is cut off nobody knows whether it was made."""
        await record_impressions(connection, [shown("r")])
        await record_impressions(connection, [shown("r"), shown("s")])
        kept = await connection.fetch("select request_id from impressions order by request_id")
        assert [row["request_id"] for row in kept] == ["r", "s"]

    async def test_two_answers_to_requests_of_one_name_are_both_kept(self, connection: Connection) -> None:
        """Clients name their requests themselves."""
        await record_impressions(connection, [shown("r"), shown("r", LONG_AGO + timedelta(seconds=1))])
        assert await connection.fetchval("select count(*) from impressions") == 2

    async def test_one_that_is_still_being_committed_is_waited_for(self, database_url: str) -> None:
        first, second = [await asyncpg.connect(database_url) for _ in range(2)]

        async def again() -> None:
            async with second.transaction():
                await record_impressions(second, [shown("r")])

        try:
            late = first.transaction()
            await late.start()
            await record_impressions(first, [shown("r")])
            retry = asyncio.create_task(again())
            await until_somebody_waits(database_url)
            await late.commit()
            await retry
            assert await second.fetchval("select count(*) from impressions") == 1
        finally:
            await asyncio.gather(first.close(), second.close())
