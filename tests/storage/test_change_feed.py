from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from storage import feed_position
from storage.change_feed import ChangeFeed
from storage.connection import Connection
from storage.database import Database
from storage.errors import TimelineChanged
from storage.feed_position import FeedPosition
from storage.named_queries import QUERIES
from storage.settings import StorageSettings
from tests.servers import Servers

WRITERS = 3


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = Database(StorageSettings(database_url), application="tests")
    await database.start()
    yield database
    await database.close()


Connect = Callable[[], Awaitable[Connection]]


@pytest.fixture
async def connect(database_url: str) -> AsyncIterator[Connect]:
    """Opens further connections."""
    opened: list[Connection] = []

    async def one() -> Connection:
        opened.append(await asyncpg.connect(database_url))
        return opened[-1]

    yield one
    for connection in opened:
        await connection.close()


def feed(database: Database, *, page: int = 500, start: FeedPosition | None = None) -> ChangeFeed:
    return ChangeFeed(database, "changed_products", "encoder-1", page=page, start=start)


async def read_all(reader: ChangeFeed) -> list[str]:
    """The products of every change there is, applied."""
    found: list[str] = []
    while True:
        page = await reader.read()
        found += [row["product_id"] for row in page.changes]
        reader.acknowledge(page)
        if not page.more:
            return found


async def insert(connection: Connection, *product_ids: str) -> None:
    for product_id in product_ids:
        await connection.execute("insert into products (id, title) values ($1, 'tea')", product_id)


async def seen(connection: Connection) -> str:
    row = await connection.fetchrow(QUERIES["catalogue_position"])
    assert row is not None
    return str(row["seen"])


async def settled(reader: ChangeFeed, connection: Connection) -> bool:
    """Whether the reader comes to stand where the catalogue does; other databases' transactions move the bound too."""
    for _ in range(200):
        await read_all(reader)
        if reader.caught_up and str(reader.position) == await seen(connection):
            return True
        await asyncio.sleep(0.02)
    return False


class TestChangeFeed:
    async def test_an_empty_feed_has_nothing(self, database: Database) -> None:
        reader = feed(database)
        assert await read_all(reader) == []
        assert reader.caught_up
        assert str(reader.position) == "0-0"

    async def test_a_change_comes_with_its_product_as_it_is_now(
        self, database: Database, connection: Connection
    ) -> None:
        await connection.execute(
            "insert into products (id, title, category, price, in_stock, hidden) "
            "values ('p', 't', 'tea', 2.5, false, true)"
        )
        await connection.execute("insert into product_embeddings values ('p', 'encoder-1', '\\x00000000')")
        page = await feed(database).read()
        row = page.changes[0]
        assert [change["product_id"] for change in page.changes] == ["p", "p"]
        assert (row["stored"], row["category"], row["price"]) == (True, "tea", 25_000)
        assert (row["in_stock"], row["hidden"], row["embedding"]) == (False, True, bytes(4))
        revision = "select (extract(epoch from updated_at) * 1000000)::bigint from products"
        assert row["revision"] == await connection.fetchval(revision)

    async def test_a_deleted_product_is_told(self, database: Database, connection: Connection) -> None:
        await insert(connection, "p")
        await connection.execute("delete from products")
        page = await feed(database).read()
        assert [(row["product_id"], row["stored"]) for row in page.changes] == [("p", False), ("p", False)]

    async def test_what_is_not_acknowledged_comes_again(self, database: Database, connection: Connection) -> None:
        await insert(connection, "p")
        reader = feed(database)
        first, second = await reader.read(), await reader.read()
        assert [row["product_id"] for row in first.changes] == [row["product_id"] for row in second.changes] == ["p"]

    async def test_a_reader_that_starts_later_sees_what_came_after(
        self, database: Database, connection: Connection
    ) -> None:
        await insert(connection, "p", "q")
        reader = feed(database)
        await read_all(reader)
        await insert(connection, "r")
        assert await read_all(feed(database, start=FeedPosition(reader.position.cursor))) in (["r"], ["p", "q", "r"])

    async def test_pages_are_limited_and_nothing_falls_between_them(
        self, database: Database, connection: Connection
    ) -> None:
        await insert(connection, *"abcdefg")
        reader = feed(database, page=3)
        page = await reader.read()
        assert (len(page.changes), page.more, page.caught_up) == (3, True, False)
        assert await read_all(reader) == list("abcdefg")


class TestOutOfOrder:
    """One transaction is held open while others commit."""

    async def test_what_commits_meanwhile_is_seen_at_once_and_what_was_open_later(
        self, database: Database, connection: Connection, connect: Connect
    ) -> None:
        reader, slow = feed(database), await connect()
        transaction = slow.transaction()
        await transaction.start()
        await insert(slow, "slow")
        await insert(connection, "quick", "quicker")
        cursor = reader.position.cursor
        assert await read_all(reader) == ["quick", "quicker"]
        assert reader.position.cursor == cursor, "the open transaction is older"
        assert str(reader.position) == await seen(connection)
        assert await read_all(reader) == [], "what was applied does not come again"
        await transaction.commit()
        assert await read_all(reader) == ["slow"]
        assert await settled(reader, connection)
        assert reader.position.ahead == {}

    async def test_a_transaction_of_many_pages_beyond_an_open_one_is_read_whole(
        self, database: Database, connection: Connection, connect: Connect
    ) -> None:
        slow, large = await connect(), await connect()
        transaction = slow.transaction()
        await transaction.start()
        await insert(slow, "slow")
        async with large.transaction():
            await insert(large, *"abcdefg")
        await insert(connection, "h")
        reader = feed(database, page=2)
        assert await read_all(reader) == list("abcdefgh")
        assert await read_all(reader) == []
        await transaction.commit()
        assert await read_all(reader) == ["slow"]

    async def test_when_too_much_is_ahead_the_rest_waits_for_the_open_one(
        self, database: Database, connection: Connection, connect: Connect, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(feed_position, "MOST_TRANSACTIONS_AHEAD", 2)
        slow = await connect()
        transaction = slow.transaction()
        await transaction.start()
        await insert(slow, "slow")
        await insert(connection, "a", "b")
        reader = feed(database)
        assert await read_all(reader) == ["a", "b"]
        await insert(connection, "c")
        assert await read_all(reader) == []
        assert not reader.caught_up
        await transaction.commit()
        assert await read_all(reader) == ["slow", "c"]
        assert reader.caught_up

    async def test_what_has_to_wait_makes_a_page_that_is_not_whole(
        self, database: Database, connection: Connection, connect: Connect, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(feed_position, "MOST_TRANSACTIONS_AHEAD", 2)
        slow = await connect()
        transaction = slow.transaction()
        await transaction.start()
        await insert(slow, "slow")
        await insert(connection, "a", "b")
        reader = feed(database)
        await read_all(reader)
        assert (await reader.read()).whole
        await insert(connection, "c")
        assert not (await reader.read()).whole
        await transaction.commit()
        assert (await reader.read()).whole

    async def test_where_the_change_at_a_cut_was_removed_the_transaction_is_read_again_at_once(
        self, database: Database, connection: Connection, connect: Connect
    ) -> None:
        slow, large = await connect(), await connect()
        await slow.execute("begin")
        await insert(slow, "slow")
        async with large.transaction():
            await insert(large, *"abcdef")
        reader = feed(database, page=2)
        reader.acknowledge(await reader.read())
        await connection.execute("delete from product_changes where product_id = 'b'")
        assert await read_all(reader) == list("acdef")

    async def test_a_read_replica_tells_what_is_open_as_the_primary_does(
        self, servers: Servers, database_url: str, connection: Connection, connect: Connect
    ) -> None:
        slow = await connect()
        transaction = slow.transaction()
        await transaction.start()
        await insert(slow, "slow")
        await insert(connection, "quick")
        servers.replay()
        replica = Database(StorageSettings(servers.replica_url_of(database_url)), application="tests")
        await replica.start()
        reader = feed(replica)
        assert await read_all(reader) == ["quick"]
        assert str(reader.position) == "0-0+1"
        await transaction.commit()
        servers.replay()
        assert await read_all(reader) == ["slow"]
        await replica.close()

    async def test_a_server_that_is_behind_what_was_seen_gives_nothing(
        self, servers: Servers, database: Database, database_url: str, connection: Connection
    ) -> None:
        """Its next change would come with the product as it was before."""
        await insert(connection, "p", "q")
        await connection.execute("update products set title = 'black tea' where id = 'p'")
        servers.replay()
        replica = Database(StorageSettings(servers.replica_url_of(database_url)), application="tests")
        await replica.start()
        reader = feed(database, page=1)
        servers.replica.query("select pg_wal_replay_pause()")
        try:
            await connection.execute("update products set price = 3 where id = 'p'")
            reader.acknowledge(await reader.read())
            reader._database = replica
            behind = await reader.read()
            assert (behind.changes, behind.more, behind.whole) == ([], False, False)
        finally:
            servers.replica.query("select pg_wal_replay_resume()")
        reader.acknowledge(behind)
        servers.replay()
        assert await read_all(reader) == ["q", "p", "p"]
        await replica.close()

    @settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(
        steps=st.lists(st.tuples(st.integers(0, WRITERS - 1), st.sampled_from("wwce r")), max_size=25),
        page=st.integers(1, 4),
    )
    async def test_in_whatever_order_writers_commit_everything_is_seen(
        self, database_url: str, steps: list[tuple[int, str]], page: int
    ) -> None:
        """For w a writer writes, c commits, e gives up, r reads; each writer has a transaction of its own."""
        database = Database(StorageSettings(database_url), application="tests")
        await database.start()
        writers = [await asyncpg.connect(database_url) for _ in range(WRITERS)]
        await writers[0].execute("truncate products cascade")
        reader = feed(database, page=page)
        known: set[str] = set()
        committed: set[str] = set()
        written: list[set[str]] = [set() for _ in writers]
        for number, (writer, step) in enumerate(steps):
            connection = writers[writer]
            if step == "w":
                if not connection.is_in_transaction():
                    await connection.execute("begin")
                await insert(connection, f"{number:02}")
                written[writer].add(f"{number:02}")
            elif step in "ce" and connection.is_in_transaction():
                await connection.execute("commit" if step == "c" else "rollback")
                committed |= written[writer] if step == "c" else set()
                written[writer] = set()
            elif step == "r":
                known |= set(await read_all(reader))
                assert committed <= known, "what is committed is seen at once"
        for connection in writers:
            await connection.close()
        known |= set(await read_all(reader))
        await database.close()
        assert committed <= known

    async def test_concurrent_writers_lose_nothing(
        self, database: Database, connection: Connection, connect: Connect
    ) -> None:
        async def write(writer: int) -> None:
            own = await connect()
            for number in range(0, 40, 4):
                async with own.transaction():
                    await insert(own, *(f"{writer}-{number + step}" for step in range(4)))

        reader = feed(database, page=7)
        writing = asyncio.gather(*(write(writer) for writer in range(4)))
        known: set[str] = set()
        while not writing.done():
            known |= set(await read_all(reader))
        await writing
        known |= set(await read_all(reader))
        assert known == {f"{writer}-{number}" for writer in range(4) for number in range(40)}
        assert await settled(reader, connection)


class TestTimeline:
    @pytest.fixture(autouse=True)
    async def _timelines(self, connection: Connection) -> None:
        """Timelines that the test sets, with no heart beating over them."""
        await connection.execute("update heartbeat set timeline = 2")
        await connection.execute(
            "create function unmoved() returns trigger language plpgsql as 'begin return null; end'"
        )
        await connection.execute(
            "create trigger unmoved before update on heartbeat for each row "
            "when (current_setting('application_name') = 'tests') execute function unmoved()"
        )

    async def test_after_a_promotion_the_reader_has_to_start_over(
        self, database: Database, connection: Connection
    ) -> None:
        reader = feed(database)
        await read_all(reader)
        await connection.execute("update heartbeat set timeline = 3")
        with pytest.raises(TimelineChanged, match="timeline 3 and was on 2"):
            await reader.read()

    async def test_a_database_that_has_yet_to_follow_gives_nothing(
        self, database: Database, connection: Connection
    ) -> None:
        reader = feed(database)
        await read_all(reader)
        await connection.execute("update heartbeat set timeline = 1")
        await insert(connection, "p")
        assert await read_all(reader) == []
