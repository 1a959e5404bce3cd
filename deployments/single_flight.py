"""Work that many callers want at the same moment, done once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from contextvars import Context
from typing import Generic, TypeVar

Result = TypeVar("Result")

LONGEST_S = 60.0


class WorkAbandoned(Exception):
    """The shared work was cancelled before it gave anything: the process is shutting down. Ask another replica."""


class SingleFlight(Generic[Result]):
    """
    Gives everyone who asks for a key while its work is under way the one result.

    The work runs in a task of its own, apart from every caller: one who gives up or is cancelled, be it the first,
    stops waiting and nothing else. What it gives is not kept: the next caller after it has ended begins anew.

    Args:
        longest_s: Most seconds for the work, so that work that hangs does not hold its key for ever.
    """

    def __init__(self, *, longest_s: float = LONGEST_S) -> None:
        self._longest_s = longest_s
        self._flights: dict[Hashable, asyncio.Task[Result]] = {}

    def __len__(self) -> int:
        """How many keys are being worked on."""
        return len(self._flights)

    async def do(
        self, key: Hashable, work: Callable[[], Awaitable[Result]], *, timeout_s: float
    ) -> tuple[Result, bool]:
        """
        Return what *work* gives, and whether it had been begun for another caller.

        Args:
            key: Names the work.
            work: Begins it; called if nobody has begun it under this key.
            timeout_s: Seconds that this caller waits.

        Raises:
            TimeoutError: it has not ended by then; it goes on for the others.
            WorkAbandoned: it was cancelled.
            Exception: what *work* raises, to everyone who waits.
        """
        joined = key in self._flights
        flight = self._flights[key] if joined else self._begin(key, work)
        done, _ = await asyncio.wait({flight}, timeout=timeout_s)
        if not done:
            raise TimeoutError(f"no answer within {timeout_s:g} s")
        if flight.cancelled():
            raise WorkAbandoned("the work was cancelled")
        return flight.result(), joined

    def _begin(self, key: Hashable, work: Callable[[], Awaitable[Result]]) -> asyncio.Task[Result]:
        # An empty context: Serve finds in it the request under which calls to other deployments are made, and cancels
        # them with that request.
        flight = asyncio.get_running_loop().create_task(self._fly(key, work), context=Context())
        self._flights[key] = flight
        flight.add_done_callback(lambda _: self._end(key, flight))
        return flight

    async def _fly(self, key: Hashable, work: Callable[[], Awaitable[Result]]) -> Result:
        flight = self._flights[key]
        try:
            async with asyncio.timeout(self._longest_s):
                return await work()
        finally:
            # Here and not in the callback alone, which runs a turn later: nobody joins what has ended.
            self._forget(key, flight)

    def _end(self, key: Hashable, flight: asyncio.Task[Result]) -> None:
        self._forget(key, flight)
        if not flight.cancelled():
            flight.exception()  # An error that nobody waits for any more is no error.

    def _forget(self, key: Hashable, flight: asyncio.Task[Result]) -> None:
        if self._flights.get(key) is flight:
            del self._flights[key]
