"""What stands in does its work now and then, so that it is quick when it is needed."""

from __future__ import annotations

import asyncio
import logging

from contracts.background import end
from contracts.requests import RecommendationRequest, SearchRequest
from deployments.stand_ins import StandIns

PERIOD_S = 30.0
TIMEOUT_S = 5.0

log = logging.getLogger(__name__)


class WarmStandIns:
    """
    Searches by words and reads the popular list, beside the requests.

    A server takes many times as long for the first query of its kind on a connection, and a deployment that dies leaves
    little time on a machine that is starting it again. The popular list also stays in memory, for when nothing at all
    can be read.

    Args:
        stand_ins: What is kept warm.
        period_s: Seconds between two times.
    """

    def __init__(self, stand_ins: StandIns, *, period_s: float = PERIOD_S) -> None:
        self._stand_ins = stand_ins
        self._period_s = period_s
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin, in the background."""
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="warm-stand-ins")

    async def stop(self) -> None:
        """End."""
        await end(self._task)
        self._task = None

    @property
    def alive(self) -> bool:
        """Whether the task has not died; true before the start and after the end."""
        return self._task is None or not self._task.done()

    async def once(self, *, timeout_s: float = TIMEOUT_S) -> None:
        """Have each do its work once, within *timeout_s*; what cannot be read now is none of its business."""
        await asyncio.gather(
            self._stand_ins.words.instead(
                SearchRequest(q="warm up"), by="gateway", cause="unavailable", timeout_s=timeout_s
            ),
            self._stand_ins.popular.popular(RecommendationRequest(), timeout_s=timeout_s),
        )

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._period_s)
            try:
                await self.once()
            except Exception:  # a task that dies would leave them cold without a word
                log.exception("what stands in was not kept warm")
