from __future__ import annotations

import asyncio

from training.factor_exchange import MeetingPoint


class TestMeetingPoint:
    async def test_everybody_gets_what_everybody_brought_by_rank(self) -> None:
        point = MeetingPoint(3)
        found = await asyncio.gather(*(point.swap(0, rank, [f"block {rank}"], pause=False) for rank in (2, 0, 1)))
        assert found == [(["block 0", "block 1", "block 2"], False)] * 3

    async def test_nobody_goes_on_before_the_last_one_is_there(self) -> None:
        point = MeetingPoint(2)
        first = asyncio.create_task(point.swap(0, 0, ["a"], pause=False))
        assert await asyncio.wait([first], timeout=0.05) == (set(), {first})
        await point.swap(0, 1, ["b"], pause=False)
        assert await first == (["a", "b"], False)

    async def test_one_who_asks_for_a_pause_pauses_all(self) -> None:
        point = MeetingPoint(2)
        found = await asyncio.gather(point.swap(0, 0, ["a"], pause=True), point.swap(0, 1, ["b"], pause=False))
        assert [pause for _, pause in found] == [True, True]

    async def test_what_was_swapped_before_is_let_go(self) -> None:
        point = MeetingPoint(2)
        for number in range(5):
            await asyncio.gather(*(point.swap(number, rank, [number], pause=False) for rank in (0, 1)))
        assert list(point._boards) == [4]
