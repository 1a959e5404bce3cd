"""The database as one process sees it: reads go to a read replica, writes to the primary."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import asyncpg

from contracts.consistency import ConsistencyToken
from contracts.deadline import time_left_s, time_limit
from storage.breakers import Breakers
from storage.config import StorageConfig
from storage.connection import Connection
from storage.endpoint import Endpoint
from storage.errors import (
    DatabaseShunned,
    DatabaseUnavailable,
    PoolTimeout,
    PrimaryProtected,
    QueryTimeout,
    ReadGaveWay,
)
from storage.hosts import Role
from storage.monitor import PERIOD_S, Monitor
from storage.named_queries import QUERIES
from storage.pool import PoolStatus
from storage.progress import first_to_cover
from storage.routing import PRIMARY, Diverted, Route, Router, RoutingRules
from storage.server_failures import SERVER_FAILURES
from storage.settings import StorageSettings
from storage.slow_queries import SlowQueries

TOKEN_TIMEOUT_S = 1.0
WORTH_WAITING_FOR_MS = 1000.0
"""A replica further behind than this will not reach a consistency token while a read waits."""

HALF = 0.5
"""The share of a read's time for the first server, where another one could answer."""
LEAST_ATTEMPT_S = 0.1
"""A read that would have less than this for its first server is not tried elsewhere."""


@dataclass(frozen=True, slots=True)
class ReadSource:
    """
    Who answered a read.

    Args:
        name: ``replica-1``, ... or ``primary``.
        lag_ms: How far a replica was behind when last measured, at most a second ago; None where that is unknown
            (and for the primary, which is never behind).
        diverted: Why the primary answered though replicas are configured: none was healthy, none fresh enough, they
            did not answer this read in time, or kept failing and are left alone.
        stale: A replica beyond the lag limit answered, to spare the primary or because that is down.
    """

    name: str
    lag_ms: float | None
    diverted: Diverted | None
    stale: bool = False


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows of a read, and who answered."""

    records: list[asyncpg.Record]
    source: ReadSource


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
        self._token_wait_s = config.token_wait_s
        self._monitor = Monitor(self._primary, list(self._replicas.values()), self._router)
        self._watch: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Open the pools and begin to watch the servers; returns within a second or so, whatever state they are in."""
        if self._watch is not None:
            return
        for endpoint in self._endpoints():
            await endpoint.open()
        self._watch = asyncio.create_task(self._monitor.run(), name="database-monitor")
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._monitor.measured.wait(), PERIOD_S)

    @property
    def alive(self) -> bool:
        """Whether the task that watches the servers has not died; true before the start and after the end."""
        return self._watch is None or not self._watch.done()

    async def close(self) -> None:
        """Stop watching and close every connection."""
        if self._watch is not None:
            self._watch.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watch
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
        async with _time_limit(query_name, timeout_s):
            if token is None:
                return await self._read(query_name, sql, *args)
            return await self._read_after(token, query_name, sql, *args)

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
            DatabaseUnavailable: the primary cannot be reached, went away, or took longer than *timeout_s*.
        """
        async with _time_limit("transaction", timeout_s), self._primary.transaction() as connection:
            yield connection

    def status(self) -> list[EndpointStatus]:
        """Return what this process knows of each server, the primary first."""
        return [self._status_of(endpoint) for endpoint in self._endpoints()]

    def _endpoints(self) -> list[Endpoint]:
        return [self._primary, *self._replicas.values()]

    def _endpoint(self, name: str) -> Endpoint:
        return self._primary if name == PRIMARY else self._replicas[name]

    async def _read(self, query_name: str, sql: str, *args: object) -> Rows:
        """
        Read from the first server that answers.

        Where another one could answer, the first gets half of the time. A read is tried elsewhere only once for want
        of time; servers that fail or refuse at once cost none.
        """
        tried: list[str] = []
        failure: DatabaseUnavailable | None = None
        while route := self._router.next_route(tried, primary_answers=self._monitor.primary_answers):
            endpoint = self._endpoint(route.name)
            tried.append(route.name)
            limit_s = None if isinstance(failure, QueryTimeout) else self._attempt_s(tried)
            try:
                with self._router.running(route):
                    async with _time_limit(query_name, limit_s, endpoint=route.name):
                        records = await endpoint.fetch(query_name, sql, *args)
                return Rows(records, self._source(route, failure))
            except PoolTimeout:
                raise
            except DatabaseUnavailable as error:
                self._note(endpoint, error)
                failure = error
        raise failure or DatabaseUnavailable(PRIMARY, "no endpoint is configured")

    def _attempt_s(self, tried: Sequence[str]) -> float | None:
        """Seconds for a read on the last of *tried*, so that another server can still answer; None: all there are."""
        left_s = time_left_s()
        if left_s is None or left_s * HALF < LEAST_ATTEMPT_S:
            return None
        following = self._router.next_route(tried, primary_answers=self._monitor.primary_answers)
        return left_s * HALF if following is not None and self._answers(following.name) else None

    def _answers(self, name: str) -> bool:
        gate = self._router.gates.get(name)
        healthy = self._monitor.primary_answers if gate is None else gate.answers
        return healthy and self._endpoint(name).breaker.state != "open"

    async def _read_after(self, token: ConsistencyToken, query_name: str, sql: str, *args: object) -> Rows:
        """Read what sees *token*: from a usable replica that has reached it, the primary, any replica that has."""
        usable = [self._replicas[name] for name in self._router.usable()]
        wait_s = self._token_wait_s if any(self._is_near(replica) for replica in usable) else 0.0
        first = await first_to_cover(token, usable, within_s=wait_s)
        if first is not None and (rows := await self._covering(first, token, query_name, sql, *args)):
            return rows
        try:
            await self._follow_a_newer(token)
            route = self._route_to_primary()
            with self._router.running(route):
                return Rows(await self._primary.fetch(query_name, sql, *args), self._source(route))
        except PoolTimeout:
            raise
        except DatabaseUnavailable as error:
            self._note(self._primary, error)
            for replica in self._replicas.values():
                if rows := await self._covering(replica, token, query_name, sql, *args):
                    return rows
            raise DatabaseUnavailable(
                PRIMARY, f"{error.problem}, and no read replica has reached the consistency token {token}"
            ) from error

    def _route_to_primary(self) -> Route:
        """Where a read goes that no replica may answer; a stale answer would not do."""
        route = self._router.primary_route()
        if route is None:
            raise PrimaryProtected(
                PRIMARY, "every read replica lags, and no more reads are diverted here. Lower the load or add replicas."
            )
        return route

    async def _covering(
        self, replica: Endpoint, token: ConsistencyToken, query_name: str, sql: str, *args: object
    ) -> Rows | None:
        """Return what *replica* answers, or None where it has not reached *token* or does not answer."""
        gate = self._router.gates[replica.name]
        source = ReadSource(replica.name, gate.lag_ms, diverted=None)
        if not replica.progress.covers(token):
            return None
        try:
            records = await replica.fetch_after(token, query_name, sql, *args)
        except DatabaseUnavailable as error:
            self._note(replica, error)
            return None
        return None if records is None else Rows(records, source)

    async def _follow_a_newer(self, token: ConsistencyToken) -> None:
        """Look for a promoted primary where *token* is of a newer timeline than the one we know."""
        if token.timeline > (self._primary.progress.timeline or 0):
            with contextlib.suppress(*SERVER_FAILURES):
                await self._primary.hosts.look_for(token.timeline, apart_s=PERIOD_S)

    def _is_near(self, replica: Endpoint) -> bool:
        return (self._router.gates[replica.name].lag_ms or 0.0) <= WORTH_WAITING_FOR_MS

    def _note(self, endpoint: Endpoint, error: DatabaseUnavailable) -> None:
        if not isinstance(error, ReadGaveWay | PoolTimeout | QueryTimeout | DatabaseShunned):
            self._monitor.failed(endpoint, error)

    def _source(self, route: Route, failure: DatabaseUnavailable | None = None) -> ReadSource:
        """Who answers on *route*, after *failure* elsewhere."""
        gate = self._router.gates.get(route.name)
        diverted = route.diverted
        if diverted == "unavailable" and isinstance(failure, DatabaseShunned):
            diverted = "circuit_open"
        elif diverted == "unavailable" and isinstance(failure, QueryTimeout):
            diverted = "timeout"
        return ReadSource(route.name, None if gate is None else gate.lag_ms, diverted=diverted, stale=route.stale)

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


@asynccontextmanager
async def _time_limit(what: str, timeout_s: float | None, *, endpoint: str = "any") -> AsyncIterator[None]:
    limit: asyncio.Timeout | None = None
    try:
        async with time_limit(timeout_s) as limit:
            yield
    except TimeoutError as error:
        if limit is not None and limit.expired():
            raise QueryTimeout(endpoint, f"{what} did not answer within {timeout_s:g} s") from error
        raise
