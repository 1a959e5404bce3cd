from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from ray.exceptions import RayActorError
from ray.serve._private.common import DeploymentID
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError

from contracts.stages import Cause
from deployments.hop import Hop, HopFailed, NoReplica
from deployments.replica_sight import replicas_of
from storage.circuit_breaker import CircuitBreaker
from storage.config import BreakerConfig
from storage.errors import DatabaseShunned, DatabaseUnavailable, PoolTimeout
from tests.deployments.handles import Handle, Raise, failing, hanging, hop

AMPLE_S = 20.0
SHORT_S = 0.15

Clock = Callable[[], float]

BLAMELESS: dict[str, Raise] = {
    "full queue": lambda: BackPressureError(num_queued_requests=2, max_queued_requests=2),
    "not deployed": lambda: DeploymentUnavailableError(DeploymentID(name="search")),
    "no replica": lambda: NoReplica("search"),
    "a store within": lambda: DatabaseUnavailable("primary", "gone"),
}


def dying(*, times: int) -> tuple[Callable[..., Any], list[object]]:
    """A method whose replica dies the first *times*, and the arguments of each call."""
    calls: list[object] = []

    async def method(*args: object) -> str:
        calls.append(args)
        if len(calls) <= times:
            raise RayActorError
        return "answer"

    return method, calls


async def failure(work: Any) -> HopFailed:  # noqa: ANN401 - any coroutine
    with pytest.raises(HopFailed) as caught:
        await work
    return caught.value


def undone(error: DatabaseUnavailable) -> DatabaseUnavailable:
    error.undone = True
    return error


async def asked(hop: Hop, times: int, *, timeout_s: float = AMPLE_S) -> list[Cause]:
    return [(await failure(hop.call("work", timeout_s=timeout_s))).cause for _ in range(times)]


class TestCall:
    async def test_it_returns_what_the_deployment_answers(self) -> None:
        async def double(number: int) -> int:
            return 2 * number

        assert await hop(Handle("search", work=double)).call("work", 21, timeout_s=AMPLE_S) == 42

    @pytest.mark.parametrize(
        ("error", "cause"),
        [
            (RayActorError, "unavailable"),
            (lambda: ValueError("a mistake of ours"), "unavailable"),
            (lambda: BackPressureError(num_queued_requests=2, max_queued_requests=2), "overloaded"),
            (lambda: DeploymentUnavailableError(DeploymentID(name="search")), "unavailable"),
            (lambda: PoolTimeout("primary", "busy"), "overloaded"),
            (lambda: DatabaseUnavailable("primary", "gone"), "unavailable"),
            (TimeoutError, "timeout"),
        ],
    )
    async def test_each_failure_has_its_cause(self, error: Raise, cause: Cause) -> None:
        assert await asked(hop(Handle("search", work=failing(error))), 1) == [cause]

    @pytest.mark.parametrize(
        ("error", "undone"),
        [
            (RayActorError, False),
            (TimeoutError, False),
            (lambda: ValueError("a mistake of ours"), False),
            (lambda: BackPressureError(num_queued_requests=2, max_queued_requests=2), True),
            (lambda: DeploymentUnavailableError(DeploymentID(name="ingestion")), True),
            (lambda: DatabaseUnavailable("primary", "went away"), False),
            (lambda: undone(DatabaseUnavailable("primary", "cannot connect")), True),
            (lambda: undone(DatabaseShunned("postgres:primary", retry_in_s=20)), True),
        ],
    )
    async def test_it_says_whether_the_call_is_certain_to_have_left_nothing(self, error: Raise, undone: bool) -> None:
        failed = await failure(hop(Handle("ingestion", work=failing(error))).call("work", timeout_s=AMPLE_S))
        assert failed.undone is undone

    async def test_a_store_that_is_left_alone_says_until_when(self) -> None:
        shunned = failing(lambda: DatabaseShunned("postgres:primary", retry_in_s=20))
        failed = await failure(hop(Handle("ingestion", work=shunned)).call("work", timeout_s=AMPLE_S))
        assert (failed.cause, failed.retry_in_s) == ("circuit_open", 20)

    async def test_a_call_that_hangs_is_given_up(self) -> None:
        failed = await failure(hop(Handle("search", work=hanging)).call("work", timeout_s=SHORT_S))
        assert failed.cause == "timeout"


class TestRetry:
    async def test_a_call_whose_replica_died_is_made_once_more(self) -> None:
        method, calls = dying(times=1)
        tried = hop(Handle("search", work=method))
        assert await tried.call("work", "q", timeout_s=AMPLE_S, again=True) == "answer"
        assert (calls, tried.retries) == ([("q",), ("q",)], 1)
        assert tried.breaker.status().consecutive == 0

    async def test_and_not_a_third_time(self) -> None:
        method, calls = dying(times=2)
        tried = hop(Handle("search", work=method))
        assert (await failure(tried.call("work", timeout_s=AMPLE_S, again=True))).cause == "unavailable"
        assert len(calls) == 2
        assert tried.breaker.status().consecutive == 1

    async def test_what_may_do_harm_twice_is_done_once(self) -> None:
        method, calls = dying(times=1)
        await failure(hop(Handle("ingestion", work=method)).call("work", timeout_s=AMPLE_S))
        assert len(calls) == 1

    @pytest.mark.parametrize(
        "error", [TimeoutError, lambda: BackPressureError(num_queued_requests=2, max_queued_requests=2), ValueError]
    )
    async def test_nothing_else_is_tried_again(self, error: Raise) -> None:
        calls = 0

        async def method() -> None:
            nonlocal calls
            calls += 1
            raise error()

        await failure(hop(Handle("search", work=method)).call("work", timeout_s=AMPLE_S, again=True))
        assert calls == 1

    async def test_nothing_is_tried_again_without_time_left(self) -> None:
        method, calls = dying(times=1)
        await failure(hop(Handle("search", work=method)).call("work", timeout_s=0.01, again=True))
        assert len(calls) == 1


class TestBreaker:
    @pytest.mark.parametrize("error", [RayActorError, ValueError, RuntimeError])
    async def test_it_opens_after_five_failures_and_refuses_at_once(self, error: Raise) -> None:
        tried = hop(Handle("search", work=failing(error)))
        assert await asked(tried, 6) == ["unavailable"] * 5 + ["circuit_open"]

    async def test_timeouts_open_it(self) -> None:
        tried = hop(Handle("search", work=hanging))
        assert await asked(tried, 6, timeout_s=SHORT_S) == ["timeout"] * 5 + ["circuit_open"]

    async def test_a_client_that_leaves_no_time_does_not(self) -> None:
        tried = hop(Handle("search", work=hanging))
        assert await asked(tried, 6, timeout_s=0.001) == ["timeout"] * 6

    @pytest.mark.parametrize("error", BLAMELESS.values(), ids=BLAMELESS)
    async def test_what_is_not_the_fault_of_its_replicas_does_not(self, error: Raise) -> None:
        tried = hop(Handle("search", work=failing(error)))
        assert "circuit_open" not in await asked(tried, 10)
        assert tried.breaker.status().outcomes == 0

    async def test_callers_who_leave_do_not(self) -> None:
        tried = hop(Handle("search", work=hanging))
        for _ in range(6):
            call = asyncio.create_task(tried.call("work", timeout_s=AMPLE_S))
            await asyncio.sleep(0.01)
            call.cancel()
            await asyncio.gather(call, return_exceptions=True)
        assert tried.breaker.status().outcomes == 0

    async def test_the_time_to_ask_again_travels_with_the_refusal(self) -> None:
        tried = hop(Handle("ingestion", work=failing(RayActorError)))
        await asked(tried, 5)
        refused = await failure(tried.call("work", timeout_s=AMPLE_S))
        assert 0 < refused.retry_in_s <= BreakerConfig().open_s
        assert refused.undone


class TestStatus:
    async def test_it_is_asked_past_an_open_breaker(self) -> None:
        async def status() -> dict[str, Any]:
            return {"healthy": True}

        tried = hop(Handle("search", work=failing(RayActorError), status=status))
        await asked(tried, 5)
        assert await tried.status(timeout_s=AMPLE_S) == {"healthy": True}
        assert tried.breaker.state == "open"

    async def test_half_open_three_that_are_answered_close_it(self) -> None:
        async def status() -> dict[str, Any]:
            return {"healthy": True}

        now = 0.0
        tried = Hop(
            Handle("search", work=failing(RayActorError), status=status),  # type: ignore[arg-type]
            CircuitBreaker("search", clock=lambda: now),
        )
        await asked(tried, 5)
        now = 31.0
        for _ in range(3):
            assert tried.breaker.state == "half_open"
            await tried.status(timeout_s=AMPLE_S)
        assert tried.breaker.state == "closed"

    async def test_half_open_one_that_is_not_opens_it_again(self) -> None:
        now = 0.0

        async def status() -> None:
            nonlocal now
            now += SHORT_S
            await hanging()

        tried = Hop(
            Handle("search", work=failing(RayActorError), status=status),  # type: ignore[arg-type]
            CircuitBreaker("search", clock=lambda: now),
        )
        await asked(tried, 5)
        now = 31.0
        await failure(tried.status(timeout_s=SHORT_S))
        assert tried.breaker.status().opened_total == 2

    @pytest.mark.parametrize("error", BLAMELESS.values(), ids=BLAMELESS)
    async def test_half_open_what_is_not_the_fault_of_its_replicas_is_no_probe(self, error: Raise) -> None:
        now = 0.0
        tried = Hop(
            Handle("search", work=failing(RayActorError), status=failing(error)),  # type: ignore[arg-type]
            CircuitBreaker("search", clock=lambda: now),
        )
        await asked(tried, 5)
        now = 31.0
        await failure(tried.status(timeout_s=AMPLE_S))
        assert (tried.breaker.state, tried.breaker.status().opened_total) == ("half_open", 1)

    async def test_one_begun_while_it_was_open_counts_for_nothing(self) -> None:
        now = 0.0

        async def status() -> None:
            nonlocal now
            now = 31.0
            assert tried.breaker.state == "half_open"
            raise ValueError

        tried = Hop(
            Handle("search", work=failing(RayActorError), status=status),  # type: ignore[arg-type]
            CircuitBreaker("search", clock=lambda: now),
        )
        await asked(tried, 5)
        await failure(tried.status(timeout_s=AMPLE_S))
        assert (tried.breaker.state, tried.breaker.status().opened_total) == ("half_open", 1)


class TestNoReplicaLeft:
    async def test_a_call_fails_at_once_and_is_no_fault(self) -> None:
        tried = hop(Handle("all-dead", work=hanging))
        replicas = replicas_of("shortlist", "all-dead")
        replicas.changed(1)
        replicas.lost("a", live=0)
        assert await asked(tried, 6) == ["unavailable"] * 6
        assert tried.breaker.status().outcomes == 0

    async def test_a_call_that_waits_ends_when_the_last_one_dies(self) -> None:
        tried = hop(Handle("dying", work=hanging))
        replicas = replicas_of("shortlist", "dying")
        replicas.changed(1)
        call = asyncio.create_task(failure(tried.call("work", timeout_s=AMPLE_S)))
        await asyncio.sleep(0.01)
        replicas.lost("a", live=0)
        assert (await call).cause == "unavailable"
