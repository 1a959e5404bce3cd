from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest

from retrieval.threads import STUCK_S, ThreadsBusy, WorkThreads


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """What work waits for; opened at the end of the test."""
    gate = threading.Event()
    yield gate
    gate.set()


class TestWorkThreads:
    async def test_work_returns_its_result_or_raises_its_error(self) -> None:
        threads = WorkThreads("test")
        assert await threads.run(lambda: 5) == 5
        with pytest.raises(ZeroDivisionError):
            await threads.run(lambda: 1 // 0)

    async def test_what_hangs_takes_no_thread_from_other_work(self, gate: threading.Event) -> None:
        threads = WorkThreads("test", threads=2)
        hanging = [asyncio.create_task(threads.run(gate.wait)) for _ in range(10)]
        await asyncio.sleep(0)
        assert await asyncio.to_thread(lambda: 5) == 5
        gate.set()
        assert await asyncio.gather(*hanging) == [True] * 10

    async def test_more_callers_than_may_wait_are_refused(self, gate: threading.Event) -> None:
        threads = WorkThreads("test", threads=1, most_waiting=2)
        waiting = [asyncio.create_task(threads.run(gate.wait)) for _ in range(3)]
        await asyncio.sleep(0)
        with pytest.raises(ThreadsBusy):
            await threads.run(lambda: 5)
        gate.set()
        await asyncio.gather(*waiting)
        assert await threads.run(lambda: 5) == 5

    async def test_a_caller_that_leaves_makes_room(self, gate: threading.Event) -> None:
        threads = WorkThreads("test", threads=1, most_waiting=0)
        leaving = asyncio.create_task(threads.run(gate.wait))
        await asyncio.sleep(0)
        leaving.cancel()
        await asyncio.wait([leaving])
        gate.set()
        assert await threads.run(lambda: 5) == 5

    async def test_it_is_dead_once_every_thread_has_been_at_the_same_work_for_long(self, gate: threading.Event) -> None:
        clock, began = Clock(), threading.Barrier(3)
        threads = WorkThreads("test", threads=2, clock=clock)

        def hang() -> bool:
            began.wait()
            return gate.wait()

        hanging = [asyncio.create_task(threads.run(hang)) for _ in range(2)]
        await asyncio.to_thread(began.wait)
        assert threads.alive
        clock.now += STUCK_S
        assert not threads.alive
        gate.set()
        await asyncio.gather(*hanging)
        assert threads.alive
