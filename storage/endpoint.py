"""One database server as one process uses it: a pool of connections, and one apart from it to ask how it is."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, cast

import asyncpg

from contracts.background import end
from contracts.consistency import ConsistencyToken
from storage.circuit_breaker import CircuitBreaker, Permit
from storage.config import StorageConfig
from storage.connection import Connection
from storage.errors import DatabaseShunned, DatabaseUnavailable, PoolTimeout, ReadGaveWay
from storage.guard import guarded
from storage.hosts import Hosts, Role
from storage.named_queries import QUERIES
from storage.pool import Pool, PooledConnection, PoolStatus, is_closed
from storage.progress import Progress
from storage.server_failures import REPLAY_CONFLICT, SERVER_FAILURES, SERVER_WENT_AWAY, text_of
from storage.slow_queries import SlowQueries


class Endpoint:
    """
    A database server, reached lazily: constructing and opening it does no I/O.

    Args:
        name: ``primary``, ``replica-1``, ...
        role: Whether it takes writes.
        url: asyncpg DSN; of several hosts the one that plays the role is followed.
        application: Shown as application_name in pg_stat_activity.
        config: Size and waits of the pool.
        breaker: Tells whether the server is asked.
        slow_queries: Told of every statement that took too long.
    """

    def __init__(
        self,
        name: str,
        role: Role,
        url: str,
        *,
        application: str,
        config: StorageConfig,
        breaker: CircuitBreaker,
        slow_queries: SlowQueries,
    ) -> None:
        self.name = name
        self.breaker = breaker
        self.role = role
        self.progress = Progress(self._last_beat)
        self.max_connections: int | None = None
        self._application = application
        self._slow_queries = slow_queries
        self.hosts = Hosts(
            url,
            role=role,
            timeout_s=config.acquire_timeout_s,
            on_switch=self.drop_connections,
        )
        self._connect_timeout_s = config.acquire_timeout_s
        self._pool = Pool(name, config, self.hosts.connect, server_settings=self._server_settings())
        self._probe_connection: Connection | None = None
        self._warming: asyncio.Task[None] | None = None

    def pool_status(self) -> PoolStatus:
        """Return the figures of the pool."""
        return self._pool.status()

    async def open(self) -> None:
        """Make the pool on the running loop; connections are made when they are needed."""
        await self._pool.open()

    async def close(self) -> None:
        """Close every connection; those still in use after a second are cut."""
        self.progress.close()
        self.hosts.close()
        await end(self._warming)
        self._end_probe()
        await self._pool.close()

    async def fetch(self, query_name: str, sql: str, *args: object) -> list[asyncpg.Record]:
        """
        Return the rows of one statement.

        Raises:
            DatabaseUnavailable: the server cannot be reached or went away.
        """
        async with self.connection() as connection:
            return await self._timed(connection, query_name, sql, *args)

    async def fetch_after(
        self, token: ConsistencyToken, query_name: str, sql: str, *args: object
    ) -> list[asyncpg.Record] | None:
        """
        Return the rows of one statement that sees what *token* covers; None where this server has not come so far.

        Raises:
            DatabaseUnavailable: the server cannot be reached or went away.
        """
        async with self.connection() as connection:
            if cast("PooledConnection", connection).made_at > self.progress.seen_at:
                # A server that started again since it was looked at may have come less far than it had.
                began_at = time.monotonic()
                self.progress.saw(await connection.fetchrow(QUERIES["last_beat"]), began_at=began_at)
            if not self.progress.covers(token):
                return None
            return await self._timed(connection, query_name, sql, *args)

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """
        Yield a connection of the pool.

        A cancelled caller's connection is cut rather than returned: a server that does not answer cannot hold it.

        Raises:
            DatabaseShunned: the server kept failing and is not to be asked now.
            PoolTimeout: every connection stayed in use.
            ReadGaveWay: a replica ended the read because it was in the way of replay.
            DatabaseUnavailable: the server cannot be reached, or went away under the caller.
        """
        with guarded(self.breaker, failures=(DatabaseUnavailable,), refusal=DatabaseShunned) as permit:
            async with self._connection(permit) as connection:
                yield connection

    @asynccontextmanager
    async def _connection(self, permit: Permit) -> AsyncIterator[Connection]:
        proxy = await self._acquire(permit)
        # The proxy offers the connection's whole interface.
        connection = cast("Connection", proxy)
        try:
            yield connection
        except (asyncio.CancelledError, TimeoutError):
            connection.terminate()
            raise
        except SERVER_FAILURES as error:
            if self.role == "replica" and isinstance(error, REPLAY_CONFLICT):
                permit.released()
                raise ReadGaveWay(self.name, text_of(error)) from error
            if isinstance(error, SERVER_WENT_AWAY) or is_closed(connection):
                self._look_again(error)
                raise DatabaseUnavailable(self.name, f"went away ({text_of(error)})") from error
            raise
        finally:
            await self._pool.release(proxy)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """
        Yield a connection inside a transaction, committed when the block ends and undone when it raises.

        Raises:
            PoolTimeout, DatabaseUnavailable: as `connection`. Lost at the commit, it may or may not have happened.
        """
        async with self.connection() as connection:
            transaction = connection.transaction()
            await transaction.start()
            try:
                with self._slow_queries.watching(self, connection):
                    yield connection
            except (asyncio.CancelledError, TimeoutError):
                raise
            except BaseException:
                if not is_closed(connection):
                    await transaction.rollback()
                raise
            await transaction.commit()

    async def probe(self, *statements: str) -> asyncpg.Record | None:
        """
        Run *statements* on a connection of its own, outside the pool, and return the last one's first row.

        Raises:
            OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError: the server does not answer.
        """
        try:
            connection = await self._probing()
            for statement in statements[:-1]:
                await connection.execute(statement)
            return await connection.fetchrow(statements[-1])
        except (asyncpg.UndefinedTableError, asyncpg.UndefinedColumnError):
            raise
        except (asyncio.CancelledError, TimeoutError, *SERVER_FAILURES) as error:
            # Whatever state it is in now, the next probe begins with a fresh one.
            self._end_probe()
            self._look_again(error)
            raise

    def keep_warm(self) -> None:
        """Have a few connections open and young, in the background."""
        if self._warming is None or self._warming.done():
            self._warming = asyncio.create_task(self._pool.keep_warm(), name=f"warm-{self.name}")

    def drop_connections(self) -> None:
        """Cut every connection, the probe's too: they lead to a server that is not the right one any more."""
        self.progress.forget()
        self._end_probe()
        self._pool.drop_connections()

    async def plan(self, sql: str, parameters: int) -> str | None:
        """
        Return how this server would run *sql* whatever its parameters are, as text; None while the pool is busy.

        Raises:
            DatabaseUnavailable: the server cannot be reached or went away.
        """
        if not self._pool.has_spare:
            return None
        async with self.connection() as connection:
            return await _generic_plan(connection, sql, parameters)

    async def _timed(self, connection: Connection, query_name: str, sql: str, *args: object) -> list[asyncpg.Record]:
        started = time.perf_counter()
        rows: list[asyncpg.Record] | None = None
        error: BaseException | None = None
        try:
            rows = await connection.fetch(sql, *args)
        except BaseException as caught:
            error = caught
            raise
        finally:
            took_ms = (time.perf_counter() - started) * 1000
            if took_ms > self._slow_queries.threshold_ms:
                counted = None if rows is None else len(rows)
                self._slow_queries.note(self, query_name, sql, args, took_ms=took_ms, rows=counted, error=error)
        return rows

    async def _last_beat(self) -> asyncpg.Record | None:
        rows = await self.fetch("last_beat", QUERIES["last_beat"])
        return rows[0] if rows else None

    async def _probing(self) -> Connection:
        if self._probe_connection is None or self._probe_connection.is_closed():
            self._probe_connection = await self.hosts.connect(
                timeout=self._connect_timeout_s, server_settings=self._server_settings()
            )
            self.max_connections = await self._probe_connection.fetchval(QUERIES["usable_connections"])
        return self._probe_connection

    def _end_probe(self) -> None:
        if self._probe_connection is not None:
            self._probe_connection.terminate()
            self._probe_connection = None

    async def _acquire(self, permit: Permit) -> Any:  # noqa: ANN401 - asyncpg's proxy is generic in its stubs alone
        try:
            return await self._pool.acquire()
        except PoolTimeout:
            permit.released()
            raise
        except asyncio.CancelledError:
            if self._pool.is_full:
                permit.released()
            raise
        except TimeoutError as error:
            raise DatabaseUnavailable(self.name, "does not answer to a new connection") from error
        except SERVER_FAILURES as error:
            raise DatabaseUnavailable(self.name, f"cannot connect ({text_of(error)})") from error

    def _look_again(self, error: BaseException) -> None:
        if self.hosts.several:
            self.hosts.forget()
            if isinstance(error, asyncpg.ReadOnlySQLTransactionError):
                self.drop_connections()

    def _server_settings(self) -> dict[str, str]:
        return {
            "application_name": self._application,
            "jit": "off",
            # A statement whose caller has gone is ended by the server itself.
            "client_connection_check_interval": "500ms",
        }


async def _generic_plan(connection: Connection, sql: str, parameters: int) -> str:
    """The plan for any parameters; EXPLAIN (GENERIC_PLAN) would need values bound to them here, and plan with these."""
    nulls = f"({', '.join(['null'] * parameters)})" if parameters else ""
    try:
        await connection.execute("set plan_cache_mode = force_generic_plan")
        await connection.execute(f"prepare slow_query as {sql}")
        rows: Sequence[asyncpg.Record] = await connection.fetch(f"explain execute slow_query{nulls}")
    except asyncpg.PostgresError:
        await _forget_plan(connection)
        raise
    # Where it is cancelled, its connection is cut: a server that does not answer is asked nothing more.
    await _forget_plan(connection)
    return "\n".join(row[0] for row in rows)


async def _forget_plan(connection: Connection) -> None:
    """Leave the session as it was before the plan, whichever step failed."""
    for statement in ("deallocate slow_query", "reset plan_cache_mode"):
        with suppress(asyncpg.PostgresError):
            await connection.execute(statement)
