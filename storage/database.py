"""The database as one process sees it: reads go to a read replica, writes to the primary."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import asyncpg

from contracts.consistency import ConsistencyToken
from storage.config import StorageConfig
from storage.connection import Connection
from storage.endpoint import SERVER_FAILURES, Endpoint, Role
from storage.errors import DatabaseUnavailable, PoolTimeout, QueryTimeout
from storage.named_queries import QUERIES
from storage.settings import StorageSettings

logger = logging.getLogger(__name__)

MONITOR_PERIOD_S = 1.0
PROBE_TIMEOUT_S = 0.8
REPLAY_GRACE_S = 0.1
"""How long a replica is given to show the newest heartbeat before it counts as behind."""


@dataclass(frozen=True, slots=True)
class ReadSource:
    """
    Who answered a read.

    Args:
        name: ``replica-1``, ... or ``primary``.
        lag_ms: How far a replica was behind when last measured, at most a second ago; None where that is unknown
            (and for the primary, which is never behind).
        diverted: Why the primary answered though replicas are configured: none was healthy, or none fresh enough.
        stale: A replica beyond the lag limit answered, to spare the primary or because it is down.
    """

    name: str
    lag_ms: float | None
    diverted: Literal["unavailable", "replica_lag"] | None
    stale: bool = False


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows of a read, and who answered."""

    records: list[asyncpg.Record]
    source: ReadSource


@dataclass(frozen=True, slots=True)
class EndpointStatus:
    """One server as this process sees it: *pool_size* connections, *pool_idle* of them free."""

    name: str
    role: Role
    healthy: bool
    lag_ms: float | None
    pool_size: int
    pool_idle: int


class Database:
    """
    Reads from the healthy read replica with least lag, writes to the primary; one per process.

    A task beats the heart on the primary each second and looks for that beat on each replica: the difference is the
    replica's lag. A replica that fails a read is left out until it answers that task again, and the read is tried
    elsewhere. Construction does no I/O and needs no event loop.

    Args:
        settings: Addresses.
        application: Shown as application_name in pg_stat_activity.
        config: Limits of the pools, of read routing and of waits.
    """

    def __init__(
        self,
        settings: StorageSettings,
        *,
        application: str,
        config: StorageConfig = StorageConfig(),  # noqa: B008 - it is frozen
    ) -> None:
        self._primary = Endpoint("primary", "primary", settings.database_url, application=application, config=config)
        self._replicas = [
            Endpoint(f"replica-{number}", "replica", url, application=application, config=config)
            for number, url in enumerate(settings.replica_urls, start=1)
        ]
        self._lag_limit_ms = config.lag_limit_s * 1000
        self._monitor: asyncio.Task[None] | None = None
        self._measured = asyncio.Event()

    async def start(self) -> None:
        """Open the pools and begin to watch the servers; returns within a second or so, whatever state they are in."""
        if self._monitor is not None:
            return
        for endpoint in self._endpoints():
            await endpoint.open()
        self._monitor = asyncio.create_task(self._watch(), name="database-monitor")
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._measured.wait(), MONITOR_PERIOD_S)

    async def close(self) -> None:
        """Stop watching and close every connection."""
        if self._monitor is not None:
            self._monitor.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._monitor
            self._monitor = None
        await asyncio.gather(*(endpoint.close() for endpoint in self._endpoints()))

    async def fetch(
        self, query_name: str, *args: object, timeout_s: float | None = None, after: str | None = None
    ) -> Rows:
        """
        Return the rows of a named read.

        Args:
            query_name: A name in storage/queries.
            args: Its parameters, in order.
            timeout_s: Most seconds for everything, waiting for a connection and trying elsewhere included.
            after: Text of a consistency token: the read sees everything that the token covers.

        Raises:
            DatabaseUnavailable: no server (that has reached *after*) answered; QueryTimeout and PoolTimeout are
                kinds of it.
            QueryUnknown: no such query.
        """
        sql = QUERIES[query_name]
        async with _time_limit(query_name, timeout_s):
            failure: DatabaseUnavailable | None = None
            if after is not None:
                return Rows(await self._primary.fetch(sql, *args), ReadSource("primary", None, diverted=None))
            for endpoint in self._readers():
                try:
                    records = await endpoint.fetch(sql, *args)
                except PoolTimeout:
                    raise
                except DatabaseUnavailable as error:
                    self._set_health(endpoint, error)
                    failure = error
                else:
                    return Rows(records, self._source(endpoint))
            raise failure or DatabaseUnavailable("primary", "no endpoint is configured")

    async def fetch_primary(
        self, query_name: str, *args: object, timeout_s: float | None = None
    ) -> list[asyncpg.Record]:
        """
        Return the rows of a named query run on the primary.

        Raises:
            DatabaseUnavailable: the primary did not answer (in time).
            QueryUnknown: no such query.
        """
        sql = QUERIES[query_name]
        async with _time_limit(query_name, timeout_s):
            return await self._primary.fetch(sql, *args)

    async def consistency_token(self) -> str | None:
        """Return the text of a ConsistencyToken that covers everything committed so far; None: it cannot be told."""
        try:
            row = (await self.fetch_primary("consistency_token", timeout_s=1.0))[0]
        except DatabaseUnavailable:
            return None
        return str(ConsistencyToken(row["timeline"], row["position"]))

    @asynccontextmanager
    async def transaction(self, *, timeout_s: float | None = None) -> AsyncIterator[Connection]:
        """
        Yield a connection to the primary inside a transaction: committed at the end, undone by an exception.

        A statement that outlives the transaction (a session lock, a session setting) must not be used in it.

        Raises:
            DatabaseUnavailable: the primary cannot be reached, went away, or took longer than *timeout_s*.
        """
        async with _time_limit("transaction", timeout_s), self._primary.transaction() as connection:
            yield connection

    def status(self) -> list[EndpointStatus]:
        """Return what this process knows of each server, the primary first."""
        return [
            EndpointStatus(e.name, e.role, e.healthy, e.lag_ms, e.pool_size, e.pool_idle) for e in self._endpoints()
        ]

    def _endpoints(self) -> list[Endpoint]:
        return [self._primary, *self._replicas]

    def _readers(self) -> list[Endpoint]:
        """Whom to ask, in order: fresh replicas, the primary, then replicas beyond the limit, as better than none."""
        healthy = sorted((e for e in self._replicas if e.healthy), key=lambda e: (e.lag_ms or 0.0, e.name))
        fresh = [e for e in healthy if e.lag_ms is None or e.lag_ms <= self._lag_limit_ms]
        return [*fresh, self._primary, *(e for e in healthy if e not in fresh)]

    def _source(self, endpoint: Endpoint) -> ReadSource:
        if endpoint is not self._primary or not self._replicas:
            return ReadSource(endpoint.name, endpoint.lag_ms, diverted=None)
        lagging = any(replica.healthy for replica in self._replicas)
        return ReadSource(endpoint.name, endpoint.lag_ms, diverted="replica_lag" if lagging else "unavailable")

    async def _watch(self) -> None:
        while True:
            started = time.monotonic()
            try:
                beat = await self._beat()
                await asyncio.gather(*(self._measure(replica, beat) for replica in self._replicas))
            except Exception:  # a monitor that dies would freeze what is known of the servers without a word
                logger.exception("measuring the database endpoints failed")
            self._measured.set()
            await asyncio.sleep(max(0.05, MONITOR_PERIOD_S - (time.monotonic() - started)))

    async def _beat(self) -> datetime | None:
        """Return the newest heartbeat on the primary, or None where it cannot be told."""
        try:
            async with asyncio.timeout(PROBE_TIMEOUT_S):
                row = await self._primary.probe(QUERIES["beat"], QUERIES["last_beat"])
        except (asyncpg.UndefinedTableError, asyncpg.UndefinedColumnError):
            row = None
        except SERVER_FAILURES as error:
            self._set_health(self._primary, error)
            return None
        self._set_health(self._primary, None)
        beat: datetime | None = None if row is None else row["beat_at"]
        return beat

    async def _measure(self, replica: Endpoint, beat: datetime | None) -> None:
        """Set the replica's health and lag; *beat* is the primary's newest heartbeat, just read."""
        try:
            async with asyncio.timeout(PROBE_TIMEOUT_S):
                lag_ms = await _lag_ms(replica, beat)
        except SERVER_FAILURES as error:
            replica.lag_ms = None
            self._set_health(replica, error)
            return
        replica.lag_ms = lag_ms
        self._set_health(replica, None)

    def _set_health(self, endpoint: Endpoint, error: BaseException | None) -> None:
        if endpoint.healthy and error is not None:
            logger.warning("database endpoint %s does not answer: %s", endpoint.name, error or type(error).__name__)
        if not endpoint.healthy and error is None:
            logger.info("database endpoint %s answers again", endpoint.name)
        endpoint.healthy = error is None


async def _lag_ms(replica: Endpoint, beat: datetime | None) -> float | None:
    """Return how long *beat* took to appear on *replica*, or how old the beat is that it shows instead."""
    started = time.monotonic()
    pause_s = 0.002
    while True:
        row = await replica.probe(QUERIES["last_beat"])
        seen: datetime | None = None if row is None else row["beat_at"]
        if beat is None or seen is None:
            return None
        elapsed_s = time.monotonic() - started
        if seen >= beat:
            return round(elapsed_s * 1000, 1)
        if elapsed_s > REPLAY_GRACE_S:
            return round((beat - seen).total_seconds() * 1000, 1)
        await asyncio.sleep(pause_s)
        pause_s *= 2


@asynccontextmanager
async def _time_limit(what: str, timeout_s: float | None) -> AsyncIterator[None]:
    limit = asyncio.timeout(timeout_s)
    try:
        async with limit:
            yield
    except TimeoutError as error:
        if limit.expired():
            raise QueryTimeout("any", f"{what} did not answer within {timeout_s:g} s") from error
        raise
