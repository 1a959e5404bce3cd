"""Reads: on a replica where one can answer, elsewhere within the same deadline where it does not."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import asyncpg

from contracts.consistency import ConsistencyToken
from contracts.deadline import time_left_s, time_limit
from storage.endpoint import Endpoint
from storage.errors import (
    DatabaseShunned,
    DatabaseUnavailable,
    PoolTimeout,
    PrimaryProtected,
    QueryTimeout,
    ReadGaveWay,
)
from storage.lateness import Lateness
from storage.monitor import PERIOD_S, Monitor
from storage.progress import first_to_cover
from storage.routing import PRIMARY, Diverted, Route, Router
from storage.server_failures import SERVER_FAILURES

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


class Reader:
    """
    Asks one server after another until one answers.

    Args:
        primary: Reads everything, and is spared.
        replicas: By name.
        router: Says whom to ask.
        monitor: Told of servers that do not answer.
        token_wait_s: Longest wait for a replica to reach a consistency token.
    """

    def __init__(
        self,
        primary: Endpoint,
        replicas: Mapping[str, Endpoint],
        router: Router,
        monitor: Monitor,
        *,
        token_wait_s: float,
    ) -> None:
        self._primary = primary
        self._replicas = replicas
        self._router = router
        self._monitor = monitor
        self._token_wait_s = token_wait_s
        self._lateness = Lateness()

    async def read(self, query_name: str, sql: str, *args: object) -> Rows:
        """
        Read from the first server that answers.

        Where another one could answer, the first gets half of the time. A read is tried elsewhere only once for want
        of time; servers that fail or refuse at once cost none. A replica that hung is passed over for a second.
        """
        tried: list[str] = []
        failure: DatabaseUnavailable | None = None
        late = next(filter(None, map(self._late, self._replicas)), None)
        while route := self._next_route(tried):
            endpoint = self._endpoint(route.name)
            tried.append(route.name)
            limit_s = None if isinstance(failure, QueryTimeout) else self._attempt_s(tried)
            began_at = self._lateness.now()
            try:
                with self._router.running(route):
                    async with query_limit(query_name, limit_s, endpoint=route.name):
                        records = await endpoint.fetch(query_name, sql, *args)
                self._lateness.answered(route.name)
                return Rows(records, self._source(route, failure or late))
            except PoolTimeout:
                raise
            except DatabaseUnavailable as error:
                self._note(endpoint, error, began_at=began_at)
                failure = error
        raise failure or DatabaseUnavailable(PRIMARY, "no endpoint is configured")

    def _next_route(self, tried: Sequence[str]) -> Route | None:
        """The next server to ask; one that hung a moment ago only where no other one answers, up to date."""
        answers = self._monitor.primary_answers
        late = [name for name in self._replicas if self._late(name)]
        prompt = self._router.next_route([*tried, *late], primary_answers=answers) if late else None
        if prompt and not prompt.stale and self._answers(prompt.name):
            return prompt
        return self._router.next_route(tried, primary_answers=answers)

    def _late(self, name: str) -> QueryTimeout | None:
        """How a server hung a moment ago; one whose breaker is open costs no wait."""
        return None if self._endpoint(name).breaker.state == "open" else self._lateness.of(name)

    def _attempt_s(self, tried: Sequence[str]) -> float | None:
        """Seconds for a read on the last of *tried*, so that another server can still answer; None: all there are."""
        following = self._next_route(tried)
        return self._share_s(others=following is not None and self._answers(following.name))

    def _share_s(self, *, others: bool) -> float | None:
        """Seconds for one server where *others* could answer; None: all there are."""
        left_s = time_left_s()
        return left_s * HALF if others and left_s is not None and left_s * HALF >= LEAST_ATTEMPT_S else None

    def _answers(self, name: str) -> bool:
        gate = self._router.gates.get(name)
        healthy = self._monitor.primary_answers if gate is None else gate.answers
        return healthy and self._endpoint(name).breaker.state != "open"

    async def read_after(self, token: ConsistencyToken, query_name: str, sql: str, *args: object) -> Rows:
        """
        Read what sees *token*: from a usable replica that has reached it, the primary, any replica that has.

        Who does not answer is asked after those who do. As in `read`, the first gets half of the time where another
        one could answer.
        """
        usable = [self._replicas[name] for name in self._router.usable()]
        wait_s = self._token_wait_s if any(self._is_near(replica) for replica in usable) else 0.0
        first = await first_to_cover(token, usable, within_s=wait_s)
        waiting = self._in_turn(first)
        failure: DatabaseUnavailable | None = None
        problem = "was not asked"
        while waiting:
            name = waiting.pop(0)
            others = any(self._answers(other) and self._may_cover(other, token) for other in waiting)
            limit_s = self._share_s(others=others and not isinstance(failure, QueryTimeout))
            began_at = self._lateness.now()
            try:
                async with query_limit(query_name, limit_s, endpoint=name):
                    if name == PRIMARY:
                        return await self._on_the_primary(token, failure, query_name, sql, *args)
                    if rows := await self._covering(self._replicas[name], token, query_name, sql, *args):
                        self._lateness.answered(name)
                        return rows
            except DatabaseUnavailable as error:
                if name == PRIMARY and isinstance(error, PoolTimeout):
                    raise
                self._note(self._endpoint(name), error, began_at=began_at)
                failure = error
                problem = error.problem if name == PRIMARY else problem
        raise DatabaseUnavailable(
            PRIMARY, f"{problem}, and no read replica has reached the consistency token {token}"
        ) from failure

    def _in_turn(self, first: Endpoint | None) -> list[str]:
        """Whom to ask for what sees a token: *first*, the primary, every replica; those that answer in time before."""
        names = [first.name] if first is not None else []
        rest = [name for name in (PRIMARY, *self._replicas) if name not in names]
        return sorted([*names, *rest], key=lambda name: not self._answers(name) or self._late(name) is not None)

    def _may_cover(self, name: str, token: ConsistencyToken) -> bool:
        return name == PRIMARY or self._replicas[name].progress.covers(token)

    async def _on_the_primary(
        self, token: ConsistencyToken, failure: DatabaseUnavailable | None, query_name: str, sql: str, *args: object
    ) -> Rows:
        """Return what the primary answers after the *failure* of a replica."""
        await self._follow_a_newer(token)
        route = self._route_to_primary()
        if route.diverted is None and failure is not None and not isinstance(failure, PoolTimeout):
            route = replace(route, diverted="unavailable")
        with self._router.running(route):
            return Rows(await self._primary.fetch(query_name, sql, *args), self._source(route, failure))

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
        """Return what *replica* answers, or None where it has not reached *token*."""
        if not replica.progress.covers(token):
            return None
        source = ReadSource(replica.name, self._router.gates[replica.name].lag_ms, diverted=None)
        records = await replica.fetch_after(token, query_name, sql, *args)
        return None if records is None else Rows(records, source)

    async def _follow_a_newer(self, token: ConsistencyToken) -> None:
        """Look for a promoted primary where *token* is of a newer timeline than the one we know."""
        if token.timeline > (self._primary.progress.timeline or 0):
            with contextlib.suppress(*SERVER_FAILURES):
                await self._primary.hosts.look_for(token.timeline, apart_s=PERIOD_S)

    def _is_near(self, replica: Endpoint) -> bool:
        return (self._router.gates[replica.name].lag_ms or 0.0) <= WORTH_WAITING_FOR_MS

    def _note(self, endpoint: Endpoint, error: DatabaseUnavailable, *, began_at: float) -> None:
        if isinstance(error, QueryTimeout):
            self._lateness.waited(endpoint.name, began_at, error)
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

    def _endpoint(self, name: str) -> Endpoint:
        return self._primary if name == PRIMARY else self._replicas[name]


@asynccontextmanager
async def query_limit(what: str, timeout_s: float | None, *, endpoint: str = "any") -> AsyncIterator[None]:
    """
    End the block after *timeout_s*, where that is a number.

    Raises:
        QueryTimeout: *what* did not answer in time.
    """
    limit: asyncio.Timeout | None = None
    try:
        async with time_limit(timeout_s) as limit:
            yield
    except TimeoutError as error:
        if limit is not None and limit.expired():
            raise QueryTimeout(endpoint, f"{what} did not answer within {timeout_s:g} s") from error
        raise
