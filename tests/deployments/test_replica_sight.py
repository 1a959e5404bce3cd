from __future__ import annotations

import asyncio

import pytest

from deployments.replica_sight import CURRENT, Journey, Replicas, note_sent


async def travelling(replicas: Replicas, journey: Journey) -> None:
    """A call that nobody answers."""
    replicas.begin(journey)
    try:
        async with asyncio.timeout(60) as limit:
            journey.limited_by(limit)
            await asyncio.Event().wait()
    finally:
        journey.limited_by(None)
        replicas.end(journey)


def known(*, live: int) -> Replicas:
    replicas = Replicas()
    replicas.changed(live)
    return replicas


class TestReplicas:
    def test_before_any_was_there_nothing_is_known_to_be_gone(self) -> None:
        replicas = Replicas()
        replicas.changed(0)
        assert not replicas.are_gone

    def test_they_are_gone_when_the_last_one_is_lost_and_back_with_the_next(self) -> None:
        replicas = known(live=2)
        replicas.lost("a", live=1)
        assert not replicas.are_gone
        replicas.lost("b", live=0)
        assert replicas.are_gone
        replicas.changed(1)
        assert not replicas.are_gone

    async def test_with_the_last_one_ends_the_call_that_waits_for_one(self) -> None:
        replicas, journey = known(live=1), Journey()
        call = asyncio.create_task(travelling(replicas, journey))
        await asyncio.sleep(0)
        replicas.changed(0)
        with pytest.raises(TimeoutError):
            await call
        assert journey.is_stranded

    async def test_with_the_last_one_ends_the_call_that_was_sent_to_it(self) -> None:
        replicas, journey = known(live=1), Journey()
        journey.sent("a", doubt=lambda: None)
        call = asyncio.create_task(travelling(replicas, journey))
        await asyncio.sleep(0)
        replicas.lost("a", live=0)
        with pytest.raises(TimeoutError):
            await call

    async def test_a_call_that_a_replica_on_its_way_out_still_works_on_goes_on(self) -> None:
        replicas, journey = known(live=1), Journey()
        journey.sent("a", doubt=lambda: None)
        call = asyncio.create_task(travelling(replicas, journey))
        await asyncio.sleep(0)
        replicas.changed(0)
        await asyncio.sleep(0.01)
        assert not call.done()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call

    async def test_a_call_that_has_ended_is_left_in_peace(self) -> None:
        replicas, journey = known(live=1), Journey()
        call = asyncio.create_task(travelling(replicas, journey))
        await asyncio.sleep(0)
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
        journey.strand()
        await asyncio.sleep(0)
        assert not journey.is_stranded


class TestJourney:
    async def test_it_is_told_of_by_whatever_runs_in_a_copy_of_its_context(self) -> None:
        async def router() -> None:
            note_sent("a", lambda: doubted.append("a"))

        doubted: list[str] = []
        journey = Journey()
        token = CURRENT.set(journey)
        routing = asyncio.create_task(router())
        CURRENT.reset(token)
        await routing
        journey.doubt()
        assert (journey.replica, doubted) == ("a", ["a"])

    async def test_one_that_was_never_sent_doubts_nobody(self) -> None:
        Journey().doubt()
