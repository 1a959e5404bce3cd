"""How far one server's reads see, in the primary's write-ahead log; and waiting for a replica to see further."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, TypeVar

import asyncpg

from contracts.consistency import ConsistencyToken
from contracts.deadline import time_limit
from storage.errors import DatabaseUnavailable
from storage.server_failures import SERVER_FAILURES

PAUSE_S = 0.003
"""Between two looks at a replica."""
PROBE_TIMEOUT_S = 0.8
"""Longest look at a server: one that takes longer does not answer."""


class Progress:
    """
    What is known of how far a server has come, from the last look at it.

    Args:
        look: Returns the row of the query ``last_beat``, None without one.

    Attributes:
        timeline: That of the newest heartbeat seen; None before the first.
        position: Bytes of the write-ahead log up to which reads see what was committed on that timeline.
        in_recovery: Whether it followed a primary at that look; None before the first.
        seen_at: When the look that found it began, in seconds of the monotonic clock.
    """

    def __init__(self, look: Callable[[], Awaitable[asyncpg.Record | None]]) -> None:
        self.timeline: int | None = None
        self.position = 0
        self.in_recovery: bool | None = None
        self.seen_at = -1e9
        self._look = look
        self._looking: asyncio.Task[None] | None = None
        self._looked_at = -1e9

    def saw(self, row: asyncpg.Record | None, *, began_at: float) -> None:
        """Note a row of the query ``last_beat``, whose look began at *began_at*."""
        if row is None:
            self.forget()
        else:
            self.timeline, self.position, self.seen_at = row["timeline"], row["position"] or 0, began_at
            self.in_recovery = row["in_recovery"]

    def forget(self) -> None:
        """Know nothing: the server does not answer, and may be another one when it does."""
        self.timeline = self.in_recovery = None

    def covers(self, token: ConsistencyToken) -> bool:
        """Whether a read sees everything that *token* covers."""
        return self.timeline == token.timeline and self.position >= token.position

    def look(self) -> asyncio.Task[None]:
        """Return the look that is under way, else begin one; it never fails."""
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look_again(), name="database-progress")
        return self._looking

    def close(self) -> None:
        """End the look that is under way."""
        if self._looking is not None:
            self._looking.cancel()

    async def _look_again(self) -> None:
        await asyncio.sleep(max(0.0, self._looked_at + PAUSE_S - time.monotonic()))
        began_at = time.monotonic()
        try:
            async with time_limit(PROBE_TIMEOUT_S):
                row = await self._look()
            self.saw(row, began_at=began_at)
        except (DatabaseUnavailable, *SERVER_FAILURES):
            self.forget()
        self._looked_at = time.monotonic()


class HasProgress(Protocol):
    """A server that can be waited for."""

    @property
    def progress(self) -> Progress:
        """How far it has come."""


Server = TypeVar("Server", bound=HasProgress)


async def first_to_cover(token: ConsistencyToken, servers: Sequence[Server], *, within_s: float) -> Server | None:
    """
    Return the first of *servers* that covers *token*, waiting for one for at most *within_s*; else None.

    Servers of another timeline are not waited for. Callers at once share the looks.
    """
    deadline = time.monotonic() + within_s
    while True:
        able = [server for server in servers if server.progress.timeline == token.timeline]
        there = next((server for server in able if server.progress.covers(token)), None)
        left_s = deadline - time.monotonic()
        if there is not None or not able or left_s <= 0:
            return there
        looks = [server.progress.look() for server in able]
        await asyncio.wait(looks, timeout=left_s, return_when=asyncio.FIRST_COMPLETED)
