"""The database as one process sees it: reads go to a read replica, writes to the primary."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import asyncpg

from contracts.background import end
from contracts.consistency import ConsistencyToken
from storage.breakers import Breakers
from storage.config import StorageConfig
from storage.connection import Connection
from storage.endpoint import Endpoint
from storage.errors import DatabaseUnavailable
from storage.hosts import Role
from storage.monitor import PERIOD_S, Monitor
from storage.named_queries import QUERIES
from storage.pool import PoolStatus
from storage.reader import Reader, ReadSource, Rows, query_limit
from storage.routing import PRIMARY, Router, RoutingRules
from storage.settings import StorageSettings
from storage.slow_queries import SlowQueries

TOKEN_TIMEOUT_S = 1.0

__all__ = ["Database", "EndpointStatus", "ReadSource", "Rows"]


@dataclass(frozen=True, slots=True)
class EndpointStatus:
    """
    One server as this process sees it.

    Attributes:
        name: ``primary``, ``replica-1``, ...
        role: As configured.
        healthy: Whether it answers; a replica that failed, not before it has answered a few probes in a row.
        lagging: Whether it is left out because it fell behind.
        lag_ms: How far a replica is behind; None where that is unknown.
        timeline: The primary's timeline that it has seen; a promotion starts another.
        max_connections: How many connections the server has for us; None before it has said.
        pool: Figures of this process's pool.
    """

    name: str
    role: Role
    healthy: bool
    lagging: bool
    lag_ms: float | None
    timeline: int | None
    max_connections: int | None
    pool: PoolStatus


class Database:
    """
    Reads from the healthy read replica with least lag, writes to the primary; one per process.

    A task beats the heart on the primary each second and looks for that beat on each replica: the difference is the
    replica's lag. A replica that fails a read is left out until it has answered that task again, and the read is tried
    elsewhere. Construction does no I/O and needs no event loop.

    Args:
        settings: Addresses.
        application: Shown as application_name in pg_stat_activity.
        config: Limits of the pools, of read routing and of waits.
        breakers: Those of the process; None: of its own.
    """

    def __init__(
        self,
        settings: StorageSettings,
        *,
        application: str,
        config: StorageConfig = StorageConfig(),  # noqa: B008 - it is frozen
        breakers: Breakers | None = None,
    ) -> None:
        breakers = breakers or Breakers()
        self._slow_queries = SlowQueries(config.slow_query_ms)

        def endpoint(name: str, role: Role, url: str) -> Endpoint:
            return Endpoint(
                name,
                role,
                url,
                application=application,
                config=config,
                breaker=breakers.of(f"postgres:{name}"),
                slow_queries=self._slow_queries,
            )

        self._primary = endpoint(PRIMARY, "primary", settings.database_url)
        self._replicas = {
            f"replica-{number}": endpoint(f"replica-{number}", "replica", url)
            for number, url in enumerate(settings.replica_urls, start=1)
        }
        self._router = Router(
            self._replicas,
            RoutingRules(
                lag_limit_ms=config.lag_limit_s * 1000,
                return_after=config.return_after,
                good_probes=config.good_probes,
                diverted_reads=config.diverted_reads,
            ),
        )
        self._monitor = Monitor(self._primary, list(self._replicas.values()), self._router)
        self._reader = Reader(
            self._primary, self._replicas, self._router, self._monitor, token_wait_s=config.token_wait_s
        )
        self._watch: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Open the pools and begin to watch the servers; returns within a second or so, whatever state they are in."""
        if self._watch is not None:
            return
        for endpoint in self._endpoints():
            await endpoint.open()
        self._watch = asyncio.create_task(self._monitor.run(), name="database-monitor")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PERIOD_S):
                await self._monitor.measured.wait()

    @property
    def alive(self) -> bool:
        """Whether the task that watches the servers has not died; true before the start and after the end."""
        return self._watch is None or not self._watch.done()

    async def close(self) -> None:
        """Stop watching and close every connection."""
        await end(self._watch)
        self._watch = None
        await self._monitor.close()
        await self._slow_queries.close()
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
            after: Text of a consistency token: the read sees everything that the token covers, on a replica that has
                come so far (or does very soon), else on the primary.

        Raises:
            DatabaseUnavailable: no server (that has reached *after*) answered; QueryTimeout and PoolTimeout are
                kinds of it.
            QueryUnknown: no such query.
            ValueError: *after* is no consistency token.
        """
        sql = QUERIES[query_name]
        token = None if after is None else ConsistencyToken.parse(after)
        async with query_limit(query_name, timeout_s):
            if token is None:
                return await self._reader.read(query_name, sql, *args)
            return await self._reader.read_after(token, query_name, sql, *args)

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
        async with query_limit(query_name, timeout_s):
            return await self._primary.fetch(query_name, sql, *args)

    async def consistency_token(self) -> str | None:
        """Return the text of a ConsistencyToken that covers everything committed so far; None: it cannot be told."""
        try:
            row = (await self.fetch_primary("consistency_token", timeout_s=TOKEN_TIMEOUT_S))[0]
        except (DatabaseUnavailable, asyncpg.PostgresError):
            return None
        return str(ConsistencyToken(row["timeline"], row["position"]))

    @asynccontextmanager
    async def transaction(self, *, timeout_s: float | None = None) -> AsyncIterator[Connection]:
        """
        Yield a connection to the primary inside a transaction: committed at the end, undone by an exception.

        A statement that outlives the transaction (a session lock, a session setting) must not be used in it.

        Raises:
            DatabaseUnavailable: the primary cannot be reached, went away, or took longer than *timeout_s*; with
                ``undone`` where that was before the commit was asked for.
        """
        undone = True
        try:
            async with query_limit("transaction", timeout_s), self._primary.transaction() as connection:
                yield connection
                undone = False
        except DatabaseUnavailable as error:
            error.undone = undone
            raise

    def status(self) -> list[EndpointStatus]:
        """Return what this process knows of each server, the primary first."""
        return [self._status_of(endpoint) for endpoint in self._endpoints()]

    def _endpoints(self) -> list[Endpoint]:
        return [self._primary, *self._replicas.values()]

    def _status_of(self, endpoint: Endpoint) -> EndpointStatus:
        gate = self._router.gates.get(endpoint.name)
        return EndpointStatus(
            name=endpoint.name,
            role=endpoint.role,
            healthy=self._monitor.primary_answers if gate is None else gate.answers,
            lagging=gate is not None and gate.lagging,
            lag_ms=None if gate is None else gate.lag_ms,
            timeline=endpoint.progress.timeline,
            max_connections=endpoint.max_connections,
            pool=endpoint.pool_status(),
        )
