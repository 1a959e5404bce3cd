"""One database server as one process uses it: a pool of connections, and what is known of its health."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Literal, cast

import asyncpg
import orjson
from asyncpg.pool import PoolConnectionProxy

from storage.config import StorageConfig
from storage.connection import Connection
from storage.errors import DatabaseUnavailable, PoolTimeout

Role = Literal["primary", "replica"]

# What a call to a server may raise; asyncpg's own state machine stumbles when a server dies at the wrong moment.
SERVER_FAILURES = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
_SERVER_WENT_AWAY = (
    asyncpg.InternalClientError,
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.InsufficientResourcesError,
    asyncpg.PostgresSystemError,
    asyncpg.ReadOnlySQLTransactionError,
)
_REPLAY_CONFLICT = (asyncpg.SerializationError, asyncpg.QueryCanceledError)


class Endpoint:
    """
    A database server, reached lazily: constructing and opening it does no I/O.

    Args:
        name: ``primary``, ``replica-1``, ...
        role: Whether it takes writes.
        url: asyncpg DSN.
        application: Shown as application_name in pg_stat_activity.
        config: Size and waits of the pool.
    """

    def __init__(self, name: str, role: Role, url: str, *, application: str, config: StorageConfig) -> None:
        self.name = name
        self.role = role
        self.healthy = True
        self.lag_ms: float | None = None
        self._url = url
        self._application = application
        self._config = config
        self._pool: asyncpg.Pool[asyncpg.Record] | None = None
        self._probe_connection: Connection | None = None

    @property
    def pool_size(self) -> int:
        """Connections open now."""
        return self._pool.get_size() if self._pool else 0

    @property
    def pool_idle(self) -> int:
        """Connections open and free now."""
        return self._pool.get_idle_size() if self._pool else 0

    async def open(self) -> None:
        """Make the pool on the running loop; connections are made when they are needed."""
        self._pool = await asyncpg.create_pool(
            self._url,
            min_size=0,
            max_size=self._config.most_connections,
            max_inactive_connection_lifetime=self._config.idle_s,
            timeout=self._config.acquire_timeout_s,
            server_settings=self._server_settings(),
            init=_read_json_as_values,
            reset=_keep_session,
        )

    async def close(self) -> None:
        """Close every connection; those still in use after a second are cut."""
        if self._probe_connection is not None:
            self._probe_connection.terminate()
            self._probe_connection = None
        if self._pool is not None:
            try:
                await asyncio.wait_for(self._pool.close(), 1.0)
            except (TimeoutError, *SERVER_FAILURES):
                self._pool.terminate()
            self._pool = None

    async def fetch(self, sql: str, *args: object) -> list[asyncpg.Record]:
        """
        Return the rows of one statement.

        Raises:
            DatabaseUnavailable: the server cannot be reached or went away.
        """
        async with self.connection() as connection:
            return await connection.fetch(sql, *args)

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """
        Yield a connection of the pool.

        A cancelled caller's connection is cut rather than returned: a server that does not answer cannot hold it.

        Raises:
            PoolTimeout: every connection stayed in use.
            DatabaseUnavailable: the server cannot be reached, or went away under the caller.
        """
        pool = self._opened_pool()
        proxy = await self._acquire(pool)
        # The proxy offers the connection's whole interface.
        connection = cast("Connection", proxy)
        try:
            yield connection
        except (asyncio.CancelledError, TimeoutError):
            connection.terminate()
            raise
        except SERVER_FAILURES as error:
            if self._went_away(connection, error):
                raise DatabaseUnavailable(self.name, f"went away ({_text(error)})") from error
            raise
        finally:
            with suppress(*SERVER_FAILURES):
                await pool.release(proxy)

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
                yield connection
            except (asyncio.CancelledError, TimeoutError):
                raise
            except BaseException:
                if not connection.is_closed():
                    await transaction.rollback()
                raise
            await transaction.commit()

    async def probe(self, *statements: str) -> asyncpg.Record | None:
        """
        Run *statements* on a connection of its own, outside the pool, and return the last one's first row.

        Raises:
            OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError: the server does not answer.
        """
        if self._probe_connection is None or self._probe_connection.is_closed():
            self._probe_connection = await asyncpg.connect(
                self._url, timeout=self._config.acquire_timeout_s, server_settings=self._server_settings()
            )
        try:
            for statement in statements[:-1]:
                await self._probe_connection.execute(statement)
            return await self._probe_connection.fetchrow(statements[-1])
        except (asyncio.CancelledError, TimeoutError, *SERVER_FAILURES):
            # Whatever state it is in now, the next probe begins with a fresh one.
            self._probe_connection.terminate()
            self._probe_connection = None
            raise

    async def _acquire(self, pool: asyncpg.Pool[asyncpg.Record]) -> PoolConnectionProxy[asyncpg.Record]:
        try:
            return await pool.acquire(timeout=self._config.acquire_timeout_s)
        except TimeoutError as error:
            if pool.get_size() >= self._config.most_connections and not pool.get_idle_size():
                raise PoolTimeout(
                    self.name,
                    f"all {self._config.most_connections} connections stayed in use for "
                    f"{self._config.acquire_timeout_s:g} s. Lower the load or add replicas.",
                ) from error
            raise DatabaseUnavailable(self.name, "does not answer to a new connection") from error
        except SERVER_FAILURES as error:
            raise DatabaseUnavailable(self.name, f"cannot connect ({_text(error)})") from error

    def _went_away(self, connection: Connection, error: Exception) -> bool:
        if isinstance(error, _SERVER_WENT_AWAY) or connection.is_closed():
            return True
        return self.role == "replica" and isinstance(error, _REPLAY_CONFLICT)

    def _opened_pool(self) -> asyncpg.Pool[asyncpg.Record]:
        if self._pool is None:
            raise RuntimeError(f"database endpoint {self.name} is used before start() or after close()")
        return self._pool

    def _server_settings(self) -> dict[str, str]:
        return {
            "application_name": self._application,
            "jit": "off",
            # A statement whose caller has gone is ended by the server itself.
            "client_connection_check_interval": "500ms",
        }


async def _read_json_as_values(connection: Connection) -> None:
    for name in ("json", "jsonb"):
        await connection.set_type_codec(
            name, schema="pg_catalog", encoder=lambda value: orjson.dumps(value).decode(), decoder=orjson.loads
        )


async def _keep_session(_connection: object) -> None:
    """Leave the session as it is: no statement here changes it beyond its transaction, and a reset costs a trip."""


def _text(error: BaseException) -> str:
    return str(error) or type(error).__name__
