"""Impressions on their way to the database: buffered, written in the background, bounded."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import orjson

from catalogue.impressions import Impression
from contracts.answers import Answer
from contracts.background import end
from contracts.requests import RecommendationRequest, SearchRequest
from deployments.hop import HopFailed

FLUSH_PERIOD_S = 1.0
# A hundred answers of a hundred hits stay well below what one message between deployments may hold.
BATCH = 100
ATTEMPTS = 10
"""How often a batch is tried before it is dropped; being refused at once is no attempt."""

log = logging.getLogger(__name__)


class ImpressionLog:
    """
    A queue that never makes a request wait.

    Args:
        write: Writes a batch, once however often it is given the same; may raise, then the batch waits for the next
            round, of which there are so many.
        capacity: Most impressions waiting; beyond them the oldest are dropped and counted.
    """

    def __init__(self, write: Callable[[list[Impression]], Awaitable[None]], *, capacity: int) -> None:
        self._write = write
        self._waiting: deque[Impression] = deque()
        self._capacity = capacity
        self._task: asyncio.Task[None] | None = None
        self._attempts = 0
        self.dropped = 0

    def add(self, impression: Impression) -> None:
        """Take note of *impression*."""
        self._waiting.append(impression)
        while len(self._waiting) > self._capacity:
            self._waiting.popleft()
            self.dropped += 1

    def start(self) -> None:
        """Write in the background from now on."""
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="impressions")

    async def stop(self) -> None:
        """Write what is waiting, once, and end."""
        await end(self._task)
        self._task = None
        await self.flush()

    @property
    def alive(self) -> bool:
        """Whether the task that writes has not died; true before the start and after the end."""
        return self._task is None or not self._task.done()

    async def flush(self) -> None:
        """Write what is waiting; what cannot be written waits on."""
        while self._waiting:
            batch = [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]
            try:
                await self._write(batch)
            except BaseException as error:
                self._waiting.extendleft(reversed(batch))
                if not isinstance(error, Exception):
                    raise
                # Impressions must never harm an answer.
                log.warning("%d impressions wait on: %s", len(self._waiting), error)
                self._attempts += not _was_refused(error)
                if self._attempts >= ATTEMPTS:
                    self._give_up(len(batch))
                return
            self._attempts = 0

    def _give_up(self, count: int) -> None:
        """Drop the first *count*, so that they hold up no others."""
        for _ in range(min(count, len(self._waiting))):
            self._waiting.popleft()
            self.dropped += 1
        self._attempts = 0
        log.error("%d impressions are dropped: they could not be written %d times", count, ATTEMPTS)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_PERIOD_S)
            await self.flush()


def _was_refused(error: Exception) -> bool:
    """Whether the batch was not even tried: *error* says nothing of it."""
    return isinstance(error, HopFailed) and error.undone and error.cause != "timeout"


def impression_of(request: SearchRequest | RecommendationRequest, answer: Answer, request_id: str) -> Impression:
    """What *answer* shows, as it is kept."""
    hits = answer.page.hits
    return Impression(
        request_id=request_id,
        shown_at=datetime.now(UTC),
        kind="search" if isinstance(request, SearchRequest) else "recommendations",
        user_id=request.user_id,
        query=request.q if isinstance(request, SearchRequest) else None,
        product_ids=[hit.product_id for hit in hits],
        ranks=[hit.rank for hit in hits],
        scores=[hit.score for hit in hits],
        features=[hit.features for hit in hits],
        versions=orjson.loads(orjson.dumps(answer.versions)),
    )
