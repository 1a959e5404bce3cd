from __future__ import annotations

import asyncio

from deployments.adaptive_limit import AdaptiveLimit, LimitRules
from deployments.burst_queue import BurstQueue

LONG_S = 60.0


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def queue(*, most: int = 3, longest_s: float = LONG_S, clock: Clock | None = None) -> BurstQueue:
    """A queue before room for two."""
    clock = clock or Clock()
    limit = AdaptiveLimit(LimitRules(floor=1, first=2, ceiling=2), clock=clock)
    return BurstQueue(limit, most=most, longest_s=longest_s, clock=clock)


async def turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def taken(queue: BurstQueue) -> float:
    entered = await queue.enter()
    assert entered is not None
    return entered


class TestBurst:
    async def test_those_who_wait_are_taken_in_turn(self) -> None:
        gate = queue()
        first, _ = await taken(gate), await taken(gate)
        order: list[str] = []

        async def come(name: str) -> None:
            await taken(gate)
            order.append(name)

        waiting = [asyncio.create_task(come(name)) for name in "abc"]
        await turns()
        assert (len(gate), order) == (3, [])
        for _ in waiting:
            gate.leave(first)
            await turns()
        assert order == ["a", "b", "c"]
        assert gate.limit.in_flight == 2

    async def test_whoever_comes_later_does_not_pass_them(self) -> None:
        gate = queue()
        first, second = await taken(gate), await taken(gate)
        waiting = asyncio.create_task(gate.enter())
        await turns()
        gate.leave(first)
        gate.leave(second)
        assert len(gate) == 0
        assert await gate.enter() is not None
        assert await waiting is not None
        assert gate.limit.in_flight == 2

    async def test_only_so_many_wait(self) -> None:
        gate = queue(most=1)
        await taken(gate), await taken(gate)
        assert not gate.refuses()
        waiting = asyncio.create_task(gate.enter())
        await turns()
        assert gate.refuses()
        assert await gate.enter() is None
        waiting.cancel()

    async def test_nobody_waits_longer_than_he_may(self) -> None:
        gate = queue(longest_s=0.01)
        await taken(gate), await taken(gate)
        assert await gate.enter() is None
        assert (len(gate), gate.limit.in_flight) == (0, 2)

    async def test_who_leaves_while_waiting_takes_no_room(self) -> None:
        gate = queue()
        first, _ = await taken(gate), await taken(gate)
        waiting = asyncio.create_task(gate.enter())
        await turns()
        waiting.cancel()
        await turns()
        gate.leave(first)
        assert (len(gate), gate.limit.in_flight) == (0, 1)

    async def test_who_leaves_at_the_moment_he_is_taken_gives_the_room_back(self) -> None:
        gate = queue()
        first, _ = await taken(gate), await taken(gate)
        waiting = asyncio.create_task(gate.enter())
        await turns()
        gate.leave(first)
        waiting.cancel()
        await turns()
        assert waiting.cancelled()
        assert gate.limit.in_flight == 1


class TestFlood:
    async def test_once_there_was_no_room_for_long_nobody_waits(self) -> None:
        clock = Clock()
        gate = queue(longest_s=0.25, clock=clock)
        first, _ = await taken(gate), await taken(gate)
        assert not gate.refuses()
        for _ in range(10):
            clock.now += 0.1
            gate.leave(first)
            first = await taken(gate)
            refused = gate.refuses()
        assert refused
        assert await gate.enter() is None

    async def test_after_a_calm_moment_a_burst_may_wait_again(self) -> None:
        clock = Clock()
        gate = queue(longest_s=0.25, clock=clock)
        await taken(gate), await taken(gate)
        assert not gate.refuses()
        for _ in range(5):
            clock.now += 0.2
            refused = gate.refuses()
        assert refused
        clock.now += 0.3
        assert not gate.refuses()
