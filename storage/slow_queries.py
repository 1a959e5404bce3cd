"""Statements that took too long, logged with their plan and without what they were asked."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Protocol

from asyncpg.connection import LoggedQuery

from contracts.background import end
from storage.connection import Connection
from storage.errors import DatabaseUnavailable
from storage.named_queries import QUERIES
from storage.server_failures import SERVER_FAILURES, text_of

logger = logging.getLogger(__name__)

PLAN_EVERY_S = 60.0
PLAN_TIMEOUT_S = 5.0


class Planner(Protocol):
    """A server that ran a statement and can say how it runs it."""

    name: str

    async def plan(self, sql: str, parameters: int) -> str | None:
        """Return the plan of *sql* for any parameters, or None while the server is busy."""


class SlowQueries:
    """
    Logs statements that took longer than *threshold_ms*: name, time, server, rows, shape of the parameters, plan.

    Those that failed or were given up are logged too. The plan is asked of the same server in the background, at most
    once a minute for each query. Values of parameters are never logged, only their types and the lengths of arrays.
    """

    def __init__(self, threshold_ms: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.threshold_ms = threshold_ms
        self._clock = clock
        self._planned_at: dict[str, float] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def note(
        self,
        server: Planner,
        query_name: str,
        sql: str,
        args: Sequence[object],
        *,
        took_ms: float,
        rows: int | None,
        error: BaseException | None = None,
    ) -> None:
        """Log a statement that *server* ran in *took_ms*, or that ended in *error*; *rows*: None where not counted."""
        if error is None:
            end = f"{took_ms:.0f} ms on {server.name}, {'rows not counted' if rows is None else f'{rows} rows'}"
        else:
            end = f"{_how_it_ended(error)} after {took_ms:.0f} ms on {server.name}"
        text = f"slow query {query_name}: {end}, parameters {shape_of(args)}"
        if self._plan_is_due(query_name):
            task = asyncio.create_task(self._log_with_plan(text, server, sql), name="slow-query-plan")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        else:
            logger.warning(text)

    @contextmanager
    def watching(self, server: Planner, connection: Connection) -> Iterator[None]:
        """Note what is slow among the statements that run on *connection* meanwhile."""

        def look(record: LoggedQuery) -> None:
            took_ms = record.elapsed * 1000
            if took_ms > self.threshold_ms:
                name, error = name_of(record.query), record.exception
                self.note(server, name, record.query, record.args, took_ms=took_ms, rows=None, error=error)

        connection.add_query_logger(look)
        try:
            yield
        finally:
            # A connection that was cut has let go of its loggers.
            with suppress(*SERVER_FAILURES):
                connection.remove_query_logger(look)

    async def close(self) -> None:
        """End what runs in the background."""
        await end(*self._tasks)

    def _plan_is_due(self, query_name: str) -> bool:
        now = self._clock()
        if now - self._planned_at.get(query_name, -PLAN_EVERY_S) < PLAN_EVERY_S:
            return False
        self._planned_at[query_name] = now
        return True

    async def _log_with_plan(self, text: str, server: Planner, sql: str) -> None:
        try:
            async with asyncio.timeout(PLAN_TIMEOUT_S):
                plan = await server.plan(sql, parameters_of(sql)) or "no plan: the pool is busy"
        except (DatabaseUnavailable, *SERVER_FAILURES) as error:
            plan = f"no plan: {text_of(error)}"
        logger.warning("%s\n%s", text, plan)


def name_of(sql: str) -> str:
    """Return the name of the query that *sql* is, else its first word."""
    word = sql.split(maxsplit=1)[0].lower() if sql.strip() else "nothing"
    return next((name for name, statement in QUERIES.items() if statement == sql), word)


def parameters_of(sql: str) -> int:
    """Return how many parameters *sql* takes."""
    return max((int(number) for number in re.findall(r"\$(\d+)", sql)), default=0)


def shape_of(args: Sequence[object]) -> str:
    """Return the types of *args* and the lengths of those that are lists, none of their values."""
    return f"({', '.join(_shape(argument) for argument in args)})"


def _how_it_ended(error: BaseException) -> str:
    return "cancelled" if isinstance(error, asyncio.CancelledError | TimeoutError) else "failed"


def _shape(argument: object) -> str:
    if argument is None:
        return "null"
    if isinstance(argument, list | tuple):
        return f"{type(argument).__name__}[{len(argument)}]"
    return type(argument).__name__
