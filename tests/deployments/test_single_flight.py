from __future__ import annotations

import asyncio
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deployments.single_flight import SingleFlight, WorkAbandoned

# Nothing here is about speed.
AMPLE_S = 60.0
request_id: ContextVar[str] = ContextVar("request_id", default="none")


@dataclass
class Work:
    """Work that ends when told to, and counts how often it was begun."""

    begun: int = 0
    has_begun: asyncio.Event = field(default_factory=asyncio.Event)
    may_end: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self) -> int:
        self.begun += 1
        self.has_begun.set()
        number = self.begun
        await self.may_end.wait()
        return number


async def asking(flights: SingleFlight[int], work: Work, number: int = 1) -> list[asyncio.Task[tuple[int, bool]]]:
    """So many callers, all of them waiting."""
    callers = [asyncio.create_task(flights.do("key", work, timeout_s=AMPLE_S)) for _ in range(number)]
    await work.has_begun.wait()
    return callers


class TestSingleFlight:
    async def test_a_hundred_callers_make_the_work_be_done_once(self) -> None:
        flights, work = SingleFlight[int](), Work()
        callers = await asking(flights, work, 100)
        work.may_end.set()
        answers = await asyncio.gather(*callers)
        assert work.begun == 1
        assert [result for result, _ in answers] == [1] * 100
        assert [joined for _, joined in answers] == [False] + [True] * 99

    async def test_the_next_caller_begins_anew(self) -> None:
        flights, work = SingleFlight[int](), Work()
        work.may_end.set()
        assert await flights.do("key", work, timeout_s=AMPLE_S) == (1, False)
        assert await flights.do("key", work, timeout_s=AMPLE_S) == (2, False)
        assert len(flights) == 0

    async def test_keys_do_not_wait_for_each_other(self) -> None:
        flights, slow, quick = SingleFlight[int](), Work(), Work()
        (waiting,) = await asking(flights, slow)
        quick.may_end.set()
        assert await flights.do("another", quick, timeout_s=AMPLE_S) == (1, False)
        slow.may_end.set()
        assert await waiting == (1, False)

    @pytest.mark.parametrize("who", [0, 1], ids=["the first", "another"])
    async def test_a_caller_that_is_cancelled_takes_nothing_from_the_others(self, who: int) -> None:
        flights, work = SingleFlight[int](), Work()
        callers = await asking(flights, work, 3)
        callers[who].cancel()
        await asyncio.wait([callers[who]])
        work.may_end.set()
        assert callers[who].cancelled()
        assert {(await caller)[0] for caller in callers if caller is not callers[who]} == {1}

    async def test_work_goes_on_when_every_caller_has_gone(self) -> None:
        flights, work = SingleFlight[int](), Work()
        (caller,) = await asking(flights, work)
        caller.cancel()
        await asyncio.wait([caller])
        assert len(flights) == 1
        latecomer = asyncio.create_task(flights.do("key", work, timeout_s=AMPLE_S))
        work.may_end.set()
        assert await latecomer == (1, True)

    async def test_each_caller_waits_for_as_long_as_it_can(self) -> None:
        flights, work = SingleFlight[int](), Work()
        (patient,) = await asking(flights, work)
        with pytest.raises(TimeoutError):
            await flights.do("key", work, timeout_s=0.001)
        work.may_end.set()
        assert await patient == (1, False)

    async def test_an_error_goes_to_all_who_wait_and_to_nobody_after(self) -> None:
        flights, may_fail = SingleFlight[int](), asyncio.Event()

        async def failing() -> int:
            await may_fail.wait()
            raise ValueError("no luck")

        callers = [asyncio.create_task(flights.do("key", failing, timeout_s=AMPLE_S)) for _ in range(10)]
        await asyncio.sleep(0)
        may_fail.set()
        assert [str(error) for error in await asyncio.gather(*callers, return_exceptions=True)] == ["no luck"] * 10
        work = Work()
        work.may_end.set()
        assert await flights.do("key", work, timeout_s=AMPLE_S) == (1, False)

    async def test_the_work_does_not_belong_to_the_request_that_began_it(self) -> None:
        """Serve cancels the calls made in a request's context when its client goes away."""

        async def whose() -> str:
            return request_id.get()

        request_id.set("mine")
        assert await SingleFlight[str]().do("key", whose, timeout_s=AMPLE_S) == ("none", False)

    async def test_work_that_hangs_gives_its_key_back(self) -> None:
        flights = SingleFlight[int](longest_s=0.001)
        with pytest.raises(TimeoutError):
            await flights.do("key", Work(), timeout_s=AMPLE_S)
        assert len(flights) == 0

    async def test_work_that_is_cancelled_is_an_error_and_no_cancellation(self) -> None:
        flights = SingleFlight[int]()

        async def cancelled() -> int:
            raise asyncio.CancelledError

        with pytest.raises(WorkAbandoned):
            await flights.do("key", cancelled, timeout_s=AMPLE_S)


@dataclass(frozen=True)
class Caller:
    """When it comes, what it wants, and after how many turns of the loop it gives up, if it does."""

    comes: int
    key: int
    gives_up: int | None


callers = st.lists(
    st.builds(Caller, comes=st.integers(0, 30), key=st.integers(0, 2), gives_up=st.none() | st.integers(0, 20)),
    max_size=40,
)


@dataclass
class Busy:
    """Work that takes some turns of the loop, each time others, and may fail."""

    turns: list[int]
    fails: list[bool]
    begun: int = 0
    at_work: set[int] = field(default_factory=set)
    ended: list[int] = field(default_factory=list)

    async def work(self, key: int) -> int:
        assert key not in self.at_work, "the work of one key is never done twice at once"
        self.at_work.add(key)
        number, self.begun = self.begun, self.begun + 1
        await turns(self.turns[number % len(self.turns)])
        self.at_work.remove(key)
        self.ended.append(number)
        if self.fails[number % len(self.fails)]:
            raise ValueError(number)
        return number


async def turns(number: int) -> None:
    for _ in range(number):
        await asyncio.sleep(0)


class TestManyCallers:
    @given(
        callers=callers,
        busy=st.builds(Busy, turns=st.lists(st.integers(0, 15), min_size=1), fails=st.lists(st.booleans(), min_size=1)),
    )
    @settings(deadline=None, max_examples=60)
    def test_whoever_comes_and_goes_each_gets_work_that_ended_while_it_waited(
        self, callers: list[Caller], busy: Busy
    ) -> None:
        asyncio.run(self._all(callers, busy))

    async def _all(self, callers: list[Caller], busy: Busy) -> None:
        flights = SingleFlight[int]()
        await asyncio.gather(*(self._one(caller, flights, busy) for caller in callers))
        async with asyncio.timeout(AMPLE_S):
            await asyncio.gather(*flights._flights.values(), return_exceptions=True)
        assert len(flights) == 0
        assert not busy.at_work

    async def _one(self, caller: Caller, flights: SingleFlight[int], busy: Busy) -> None:
        await turns(caller.comes)
        calling = asyncio.create_task(self._call(caller.key, flights, busy))
        if caller.gives_up is None:
            await calling
        else:
            await turns(caller.gives_up)
            calling.cancel()
            with suppress(asyncio.CancelledError):
                await calling

    async def _call(self, key: int, flights: SingleFlight[int], busy: Busy) -> None:
        over = len(busy.ended)
        try:
            number, _ = await flights.do(key, lambda: busy.work(key), timeout_s=AMPLE_S)
        except ValueError as error:
            number = error.args[0]
        assert number in busy.ended[over:], "what had ended before a caller came is not given to it"
