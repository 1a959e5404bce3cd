"""Impressions on their way to the database: buffered, written in the background, bounded."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable

from catalogue.impressions import Impression

FLUSH_PERIOD_S = 1.0
BATCH = 500

log = logging.getLogger(__name__)


class ImpressionLog:
    """
    A queue that never makes a request wait.

    Args:
        write: Writes a batch; may raise, then the batch waits for the next round.
        capacity: Most impressions waiting; beyond them the oldest are dropped and counted.
    """

    def __init__(self, write: Callable[[list[Impression]], Awaitable[None]], *, capacity: int) -> None:
        self._write = write
        self._waiting: deque[Impression] = deque()
        self._capacity = capacity
        self._task: asyncio.Task[None] | None = None
        self.dropped = 0

    def add(self, impression: Impression) -> None:
        """Take note of *impression*."""
        if len(self._waiting) >= self._capacity:
            self._waiting.popleft()
            self.dropped += 1
        self._waiting.append(impression)

    def start(self) -> None:
        """Write in the background from now on."""
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="impressions")

    async def stop(self) -> None:
        """Write what is waiting, once, and end."""
        if self._task is not None:
            self._task.cancel()
            self._task = None
        await self.flush()

    async def flush(self) -> None:
        """Write what is waiting; what cannot be written waits on."""
        while self._waiting:
            batch = [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]
            try:
                await self._write(batch)
            except Exception as error:  # noqa: BLE001 - impressions must never harm an answer
                log.warning("%d impressions wait on: %s", len(batch), error)
                self._waiting.extendleft(reversed(batch))
                return

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_PERIOD_S)
            await self.flush()
