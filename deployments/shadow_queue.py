"""Requests that a shadow is to answer too, one after the other, beside the requests."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable

from artifacts.trial_figures import TrialFigures, compared
from contracts.background import end
from contracts.requests import ReadRequest
from deployments.trial_arms import Arm, Listed

MOST_WAITING = 16
"""Requests sampled beyond these are dropped: a shadow must not grow a backlog on a busy replica."""
TIMEOUT_S = 5.0

log = logging.getLogger(__name__)


class ShadowQueue:
    """
    Has both versions look for what answers a sampled request, and adds up how they differ.

    Args:
        figures: Where to add it.
    """

    def __init__(self, arm: Arm, figures: Iterable[TrialFigures]) -> None:
        self._arm = arm
        self._figures = list(figures)
        self._waiting: asyncio.Queue[ReadRequest] = asyncio.Queue(MOST_WAITING)
        self._task = asyncio.create_task(self._run(), name="shadow")

    def offer(self, request: ReadRequest) -> None:
        """Put *request* on the queue; it is dropped and counted where the queue is full."""
        try:
            self._waiting.put_nowait(request)
        except asyncio.QueueFull:
            for figures in self._figures:
                figures.dropped += 1

    async def settled(self) -> None:
        """Return when everything offered so far is compared."""
        await self._waiting.join()

    async def stop(self) -> None:
        """End; what waits is forgotten."""
        await end(self._task)

    async def _run(self) -> None:
        while True:
            request = await self._waiting.get()
            try:
                await self._compare(request)
            except Exception:
                log.exception("a request was not compared")
            finally:
                self._waiting.task_done()

    async def _compare(self, request: ReadRequest) -> None:
        started = time.perf_counter()
        active = await self._arm.listed_by_active(request, timeout_s=TIMEOUT_S)
        between = time.perf_counter()
        trial = await self._arm.listed(request, timeout_s=TIMEOUT_S)
        ended = time.perf_counter()
        if active[1].cause == "not_requested":
            return
        for figures in self._figures:
            figures.active.add((between - started) * 1000, failed=active[1].degraded)
            figures.trial.add((ended - between) * 1000, failed=trial[1].degraded)
            if not active[1].degraded and not trial[1].degraded:
                figures.add(compared(*_list(active), *_list(trial)))


def _list(listed: Listed) -> tuple[list[str], list[float]]:
    retrieved, _ = listed
    return ([], []) if retrieved is None else (retrieved.product_ids, retrieved.scores.tolist())
