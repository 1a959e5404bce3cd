"""The connections of one process to one server: so many for reuse, a few more in a rush, none for ever."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast
from weakref import WeakSet

import asyncpg
import orjson
from asyncpg.pool import PoolConnectionProxy

from contracts.deadline import out_of_time
from storage.config import StorageConfig
from storage.connection import Connection
from storage.errors import PoolTimeout
from storage.server_failures import SERVER_FAILURES

if TYPE_CHECKING:
    _Connection = asyncpg.Connection[asyncpg.Record]
    _Proxy = PoolConnectionProxy[asyncpg.Record]
else:
    _Connection = asyncpg.Connection

LIFETIME_JITTER = 0.1


class PooledConnection(_Connection):
    """A connection that knows when it was made and when it is to be replaced, in seconds of the monotonic clock."""

    __slots__ = ("expires_at", "made_at")
    expires_at: float
    made_at: float


@dataclass(frozen=True, slots=True)
class PoolStatus:
    """
    A pool at one moment.

    Attributes:
        size: Connections open.
        idle: Of these, free.
        in_use: Of these, lent to a caller.
        waiters: Callers that wait for a connection.
        acquired: Connections obtained since the start.
        wait_s: Seconds that callers waited for a connection since the start, in all, successfully or not.
        longest_wait_s: The longest of these waits.
        timeouts: Callers whose time, or the pool's, was up while all connections stayed in use.
        created: Connections made since the start.
        recycled: Connections closed since the start because of their age.
    """

    size: int = 0
    idle: int = 0
    in_use: int = 0
    waiters: int = 0
    acquired: int = 0
    wait_s: float = 0.0
    longest_wait_s: float = 0.0
    timeouts: int = 0
    created: int = 0
    recycled: int = 0


class Pool:
    """
    asyncpg's pool with a lifetime of connections, an overflow that goes away, a warm floor, and figures.

    Args:
        name: The endpoint's, for what errors say.
        config: Sizes and times.
        connect: Makes a connection; takes what ``asyncpg.connect`` takes by name.
    """

    def __init__(
        self, name: str, config: StorageConfig, connect: Callable[..., Awaitable[Connection]], **options: object
    ) -> None:
        self._name = name
        self._config = config
        self._connect = connect
        self._options: dict[str, Any] = options
        self._pool: asyncpg.Pool[asyncpg.Record] | None = None
        self._connections: WeakSet[Connection] = WeakSet()
        self._in_use = self._waiters = self._acquired = self._timeouts = self._created = self._recycled = 0
        self._wait_s = self._longest_wait_s = 0.0

    async def open(self) -> None:
        """Make the pool on the running loop; connections are made when they are needed."""
        self._pool = await asyncpg.create_pool(
            min_size=0,
            max_size=self._config.most_connections,
            max_inactive_connection_lifetime=self._config.idle_s,
            timeout=self._config.acquire_timeout_s,
            connection_class=PooledConnection,
            connect=cast("Any", self._connected),
            init=cast("Any", self._prepare),
            reset=_keep_session,
            **self._options,
        )

    async def close(self) -> None:
        """Close every connection; those still in use after a second are cut."""
        if self._pool is not None:
            try:
                async with asyncio.timeout(1.0):
                    await self._pool.close()
            except SERVER_FAILURES:
                self._pool.terminate()
            self._pool = None

    async def acquire(self) -> _Proxy:
        """
        Return a connection, to be given back with `release`.

        Raises:
            PoolTimeout: every connection stayed in use.
            TimeoutError: the server did not accept a new one in time.
            OSError, asyncpg.PostgresError, asyncpg.InterfaceError: it refused.
        """
        pool = self._opened()
        started = time.monotonic()
        self._waiters += 1
        try:
            connection = await pool.acquire(timeout=self._config.acquire_timeout_s)
        except TimeoutError as error:
            if not self.is_full:
                raise
            self._timeouts += 1
            raise PoolTimeout(
                self._name,
                f"all {self._config.most_connections} connections stayed in use for "
                f"{self._config.acquire_timeout_s:g} s. Lower the load or add replicas.",
            ) from error
        except asyncio.CancelledError:
            # Most callers have less time than a connection is waited for; one who leaves by himself is not counted.
            if self.is_full and out_of_time():
                self._timeouts += 1
            raise
        finally:
            self._waiters -= 1
            waited_s = time.monotonic() - started
            self._wait_s += waited_s
            self._longest_wait_s = max(self._longest_wait_s, waited_s)
        self._acquired += 1
        self._in_use += 1
        return connection

    async def release(self, connection: _Proxy) -> None:
        """Take *connection* back; close it if it is too old, or one too many while nobody waits."""
        self._in_use -= 1
        pool = self._pool
        if pool is None:
            return
        if not is_closed(connection):
            if time.monotonic() >= cast("PooledConnection", connection).expires_at:
                self._recycled += 1
                connection.terminate()
            elif not self._waiters and len(self._connections) > self._config.pool_size < pool.get_size():
                connection.terminate()
        with suppress(*SERVER_FAILURES):
            await pool.release(connection)

    async def keep_warm(self) -> None:
        """
        Borrow as many connections as the floor asks for, and give them back.

        That makes those that are missing, replaces those that are too old, and keeps these few from being closed as
        idle. A server that does not answer is none of its business.
        """
        # It gives all back, also where this is cut off while it does so.
        async with AsyncExitStack() as borrowed:

            async def borrow() -> None:
                borrowed.push_async_callback(self.release, await self.acquire())

            missing = self._config.pool_floor - self._in_use
            await asyncio.gather(*(borrow() for _ in range(missing)), return_exceptions=True)

    def drop_connections(self) -> None:
        """Cut every connection, those in use too: they lead to a server that is not the right one any more."""
        for connection in list(self._connections):
            if not connection.is_closed():
                connection.terminate()

    def status(self) -> PoolStatus:
        """Return the pool's figures."""
        return PoolStatus(
            size=self._pool.get_size() if self._pool else 0,
            idle=self._pool.get_idle_size() if self._pool else 0,
            in_use=self._in_use,
            waiters=self._waiters,
            acquired=self._acquired,
            wait_s=self._wait_s,
            longest_wait_s=self._longest_wait_s,
            timeouts=self._timeouts,
            created=self._created,
            recycled=self._recycled,
        )

    @property
    def has_spare(self) -> bool:
        """Whether a connection can be had now without dipping into the overflow."""
        return self._in_use + self._waiters < self._config.pool_size

    @property
    def is_full(self) -> bool:
        """Whether every connection is in use: whoever waits, waits for another caller and not for the server."""
        return self._in_use >= self._config.most_connections

    async def _connected(self, *_: object, **options: Any) -> Connection:  # noqa: ANN401 - as asyncpg's own
        return await self._connect(**options)

    async def _prepare(self, connection: PooledConnection) -> None:
        lifetime_s = self._config.connection_lifetime_s
        jitter = random.uniform(1 - LIFETIME_JITTER, 1 + LIFETIME_JITTER)  # noqa: S311 - nothing secret
        connection.made_at = time.monotonic()
        connection.expires_at = connection.made_at + lifetime_s * jitter
        self._created += 1
        self._connections.add(connection)
        for name in ("json", "jsonb"):
            await connection.set_type_codec(
                name, schema="pg_catalog", encoder=lambda value: orjson.dumps(value).decode(), decoder=orjson.loads
            )

    def _opened(self) -> asyncpg.Pool[asyncpg.Record]:
        if self._pool is None:
            raise RuntimeError(f"database endpoint {self._name} is used before start() or after close()")
        return self._pool


def is_closed(connection: Connection | _Proxy) -> bool:
    """Whether *connection* is of no more use, lost or given back."""
    try:
        return connection.is_closed()
    except asyncpg.InterfaceError:
        return True


async def _keep_session(_connection: object) -> None:
    """Leave the session as it is: no statement here changes it beyond its transaction, and a reset costs a trip."""
