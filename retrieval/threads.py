"""A few threads for one kind of work, so that work that hangs takes no thread from any other."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Result = TypeVar("Result")

MOST_WAITING = 100
STUCK_S = 30.0
"""Work in memory that takes longer never ends."""


class ThreadsBusy(Exception):
    """All threads of this kind of work are busy, and enough of it is waiting already. Lower the load."""


class WorkThreads:
    """
    Runs work in threads of its own.

    Args:
        name: Of the threads.
        threads: How many.
        niceness: How far they give way to others, 0 to 19.
        most_waiting: Work beyond what the threads do at once that may wait for one of them.
        clock: Seconds from an arbitrary start, never going back.
    """

    def __init__(
        self,
        name: str,
        *,
        threads: int = min(32, (os.cpu_count() or 1) + 4),
        niceness: int = 0,
        most_waiting: int = MOST_WAITING,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._executor = ThreadPoolExecutor(
            threads, thread_name_prefix=name, initializer=_give_way, initargs=(niceness,)
        )
        self._threads = threads
        self._most_waiting = most_waiting
        self._clock = clock
        self._callers = 0
        self._began_at: dict[object, float] = {}

    @property
    def alive(self) -> bool:
        """Whether some thread is free or will be; false once all have been at the same work for half a minute."""
        busy = list(self._began_at.values())
        return len(busy) < self._threads or self._clock() - max(busy) < STUCK_S

    async def run(self, work: Callable[[], Result]) -> Result:
        """
        Return what *work* returns, run in one of the threads.

        Work whose caller has gone is not begun; begun, it runs to its end.

        Raises:
            ThreadsBusy: too much is waiting.
        """
        if self._callers >= self._most_waiting + self._threads:
            raise ThreadsBusy(f"{self._callers} callers wait for {self._threads} threads")

        def noted() -> Result:
            self._began_at[work_id] = self._clock()
            try:
                return work()
            finally:
                del self._began_at[work_id]

        work_id = object()
        self._callers += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._executor, noted)
        finally:
            self._callers -= 1


def _give_way(niceness: int) -> None:
    """Lower the priority of this thread, where threads have one of their own."""
    if niceness and sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), niceness)
