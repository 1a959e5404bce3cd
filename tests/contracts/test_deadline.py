from __future__ import annotations

import asyncio

import pytest

from contracts.deadline import Deadline, out_of_time, time_left_s, time_limit


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


class TestDeadline:
    def test_what_is_left_shrinks_with_time_and_never_goes_below_zero(self) -> None:
        clock = Clock()
        deadline = Deadline.in_seconds(2.0, clock=clock)
        assert deadline.left_s() == 2.0
        clock.now += 0.5
        assert deadline.left_s() == 1.5
        clock.now += 5.0
        assert deadline.left_s() == 0.0

    def test_a_step_may_take_a_share_of_what_is_left(self) -> None:
        assert Deadline.in_seconds(2.0, clock=Clock()).left_s(0.25) == 0.5


class TestTimeLimit:
    async def test_tells_what_it_cancels_that_the_time_is_up(self) -> None:
        seen: list[bool] = []

        async def wait() -> None:
            try:
                await asyncio.sleep(60)
            finally:
                seen.append(out_of_time())

        with pytest.raises(TimeoutError):
            async with time_limit(0.01), time_limit(60):
                await asyncio.gather(wait(), wait())
        assert seen == [True, True]

    async def test_another_cancellation_is_not_the_end_of_the_time(self) -> None:
        async with time_limit(60):
            task = asyncio.create_task(asyncio.sleep(60))
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
            assert not out_of_time()

    async def test_ends_with_its_block(self) -> None:
        with pytest.raises(TimeoutError):
            async with time_limit(0):
                await asyncio.sleep(60)
        assert not out_of_time()

    async def test_without_a_limit_there_is_always_time(self) -> None:
        async with time_limit(None):
            assert not out_of_time()

    async def test_what_runs_in_it_can_ask_how_long_it_has(self) -> None:
        assert time_left_s() is None
        async with time_limit(60), time_limit(30), time_limit(None):
            assert 29 < (time_left_s() or 0) <= 30
        assert time_left_s() is None

    async def test_does_not_bind_a_task_that_outlives_it(self) -> None:
        asked = asyncio.Event()

        async def outlive() -> tuple[bool, float | None]:
            await asked.wait()
            return out_of_time(), time_left_s()

        async with time_limit(60):
            task = asyncio.create_task(outlive())
            await asyncio.sleep(0)
        asked.set()
        assert await task == (False, None)
