from __future__ import annotations

import asyncio
import re

import asyncpg
import pytest

from storage.circuit_breaker import CircuitBreaker
from storage.config import StorageConfig
from storage.endpoint import Endpoint
from storage.errors import QueryTimeout
from storage.named_queries import QUERIES
from storage.settings import StorageSettings
from storage.slow_queries import SlowQueries, name_of, parameters_of, shape_of
from tests.servers import Servers
from tests.storage.conftest import eventually, started

SLEEPY = "select id from products where id = any($1::text[]) and pg_sleep($2) is not null"
LOGGER = "storage.slow_queries"


class Planner:
    """A server that can say how it runs a statement, or cannot."""

    name = "replica-1"

    def __init__(self, plan: str | Exception | None = "Seq Scan") -> None:
        self.answer = plan
        self.asked: list[str] = []

    async def plan(self, sql: str, parameters: int) -> str | None:
        self.asked.append(f"{sql} {parameters}")
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == LOGGER]


def said_of(query_name: str, caplog: pytest.LogCaptureFixture) -> list[str]:
    return [text for text in messages(caplog) if text.startswith(f"slow query {query_name}:")]


async def noted(slow: SlowQueries, server: Planner, caplog: pytest.LogCaptureFixture, *, times: int = 1) -> list[str]:
    before = len(messages(caplog))
    for _ in range(times):
        slow.note(server, "products_by_id", "select $1, $2", [["secret"], 5], took_ms=123.4, rows=2)
    assert await eventually(lambda: len(messages(caplog)) == before + times)
    return messages(caplog)[before:]


class TestSlowQueries:
    async def test_name_time_server_rows_shapes_and_plan_are_logged(self, caplog: pytest.LogCaptureFixture) -> None:
        expected = (
            "slow query products_by_id: 123 ms on replica-1, 2 rows, parameters (list[1], int)\nSeq Scan on products"
        )
        assert await noted(SlowQueries(100), Planner("Seq Scan on products"), caplog) == [expected]

    async def test_the_plan_is_asked_for_once_a_minute(self, caplog: pytest.LogCaptureFixture) -> None:
        now = 0.0
        slow, server = SlowQueries(100, clock=lambda: now), Planner()
        assert len(await noted(slow, server, caplog, times=3)) == 3
        assert len(server.asked) == 1
        now = 61.0
        await noted(slow, server, caplog)
        assert server.asked == ["select $1, $2 2"] * 2

    async def test_without_a_plan_the_rest_is_logged(self, caplog: pytest.LogCaptureFixture) -> None:
        assert (await noted(SlowQueries(100), Planner(None), caplog))[0].endswith("no plan: the pool is busy")
        assert (await noted(SlowQueries(100), Planner(OSError("gone")), caplog))[0].endswith("no plan: gone")

    async def test_a_slow_read_is_logged_with_the_plan_of_the_server_that_ran_it(
        self, servers: Servers, database_url: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("storage.database.QUERIES", {"sleepy": SLEEPY})
        servers.replay()
        settings = StorageSettings(database_url, (servers.replica_url_of(database_url),))
        async with started(settings, StorageConfig(slow_query_ms=50)) as database:
            async with database.transaction() as connection:
                await connection.execute("insert into products (id, title) values ('secret', 'A')")
            servers.replay()
            await database.fetch("sleepy", ["secret", "other"], 0.06)
            assert await eventually(lambda: any("slow query sleepy" in text for text in messages(caplog)))
        text = next(text for text in messages(caplog) if "slow query sleepy" in text)
        assert "on replica-1, 1 rows, parameters (list[2], float)" in text
        assert "products_pkey" in text
        assert "id = ANY ($1)" in text
        assert "secret" not in text

    async def test_what_is_slow_in_a_transaction_is_logged_too(
        self, database_url: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        async with started(StorageSettings(database_url), StorageConfig(slow_query_ms=50)) as database:
            async with database.transaction() as connection:
                await connection.fetch(QUERIES["products_by_id"], ["a"])
                await connection.execute("select pg_sleep($1)", 0.06)
            assert await eventually(lambda: said_of("select", caplog) != [])
        (text,) = said_of("select", caplog)
        assert "parameters (float)\nResult  (cost" in text

    async def test_one_that_its_caller_gives_up_is_logged(
        self, database_url: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("storage.database.QUERIES", {"sleepy": "select pg_sleep($1)", "quick": "select 1"})
        async with started(StorageSettings(database_url), StorageConfig(slow_query_ms=50)) as database:
            # A connection is there, so that the time goes into the statement.
            await database.fetch("quick")
            with pytest.raises(QueryTimeout):
                await database.fetch("sleepy", 60.0, timeout_s=1)
            assert await eventually(lambda: any("cancelled" in text for text in said_of("sleepy", caplog)))
        text = next(text for text in said_of("sleepy", caplog) if "cancelled" in text)
        assert re.fullmatch(r"slow query sleepy: cancelled after \d+ ms on primary, parameters \(float\)(?s:.*)", text)
        assert "Result  (cost" in text

    async def test_one_that_fails_is_logged(
        self, database_url: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("storage.database.QUERIES", {"failing": "select 1 / length(pg_sleep($1)::text)"})
        async with started(StorageSettings(database_url), StorageConfig(slow_query_ms=50)) as database:
            with pytest.raises(asyncpg.DivisionByZeroError):
                await database.fetch("failing", 0.06)
            assert await eventually(lambda: said_of("failing", caplog) != [])
        (text,) = said_of("failing", caplog)
        assert re.match(r"slow query failing: failed after \d+ ms on primary, parameters \(float\)\n", text)

    async def test_what_fails_in_a_transaction_is_logged_too(
        self, database_url: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        async with started(StorageSettings(database_url), StorageConfig(slow_query_ms=50)) as database:
            with pytest.raises(asyncpg.DivisionByZeroError):
                async with database.transaction() as connection:
                    await connection.execute("select 1 / length(pg_sleep($1)::text)", 0.06)
            assert await eventually(lambda: said_of("select", caplog) != [])
        assert "slow query select: failed after" in said_of("select", caplog)[0]

    async def test_a_plan_that_cannot_be_made_spoils_no_later_one(self, database_url: str) -> None:
        config = StorageConfig(pool_size=1, pool_overflow=0, pool_floor=0)
        endpoint = Endpoint(
            "primary",
            "primary",
            database_url,
            application="test",
            config=config,
            breaker=CircuitBreaker("postgres:test"),
            slow_queries=SlowQueries(60_000),
        )
        await endpoint.open()
        try:
            # Its constant is worked out when it is planned.
            with pytest.raises(asyncpg.DivisionByZeroError):
                await endpoint.plan("select 1 / 0", 0)
            assert (await endpoint.plan("select $1::int", 1) or "").startswith("Result")
            async with endpoint.connection() as connection:
                assert await connection.fetchval("show plan_cache_mode") == "auto"
            assert endpoint.pool_status().created == 1
        finally:
            await endpoint.close()

    async def test_quick_ones_are_not_logged(self, database_url: str, caplog: pytest.LogCaptureFixture) -> None:
        async with started(StorageSettings(database_url), StorageConfig(slow_query_ms=60_000)) as database:
            await asyncio.gather(*(database.fetch("products_by_id", ["a"]) for _ in range(10)))
        assert messages(caplog) == []


class TestWhatIsSaid:
    def test_of_parameters_only_types_and_lengths(self) -> None:
        assert shape_of(["a@b.c", None, [1, 2, 3], 2.5, True]) == "(str, null, list[3], float, bool)"

    def test_of_a_statement_its_name_or_first_word(self) -> None:
        assert [name_of(QUERIES["user_exists"]), name_of("COMMIT x"), name_of(" ")] == [
            "user_exists",
            "commit",
            "nothing",
        ]

    def test_the_parameters_of_a_statement_are_counted(self) -> None:
        assert [parameters_of("select $2, $1, $12"), parameters_of("select 1")] == [12, 0]
