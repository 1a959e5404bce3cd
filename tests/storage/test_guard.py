from __future__ import annotations

import asyncio

import pytest

from contracts.deadline import time_limit
from storage.circuit_breaker import CircuitBreaker
from storage.config import BreakerConfig
from storage.errors import CircuitOpen, QueryTimeout
from storage.guard import guarded

RULES = BreakerConfig(least_wait_s=0.01)


@pytest.fixture
def breaker() -> CircuitBreaker:
    return CircuitBreaker("shop", RULES)


def counted(breaker: CircuitBreaker) -> tuple[int, int]:
    """Failures and outcomes."""
    return breaker.status().failures, breaker.status().outcomes


async def wait(breaker: CircuitBreaker, seconds: float = 60.0, *, error: Exception | None = None) -> None:
    with guarded(breaker, failures=(OSError,)):
        await asyncio.sleep(seconds)
        if error is not None:
            raise error


def fails_released(breaker: CircuitBreaker) -> None:
    with guarded(breaker, failures=(OSError,)) as permit:
        permit.released()
        raise ConnectionError


class TestGuarded:
    async def test_a_block_that_ends_is_a_success(self, breaker: CircuitBreaker) -> None:
        await wait(breaker, 0)
        assert counted(breaker) == (0, 1)

    @pytest.mark.parametrize(("error", "expected"), [(ConnectionError(), (1, 1)), (ValueError(), (0, 0))])
    async def test_only_errors_that_are_its_fault_count(
        self, breaker: CircuitBreaker, error: Exception, expected: tuple[int, int]
    ) -> None:
        with pytest.raises(type(error)), guarded(breaker, failures=(OSError,)):
            raise error
        assert counted(breaker) == expected

    @pytest.mark.parametrize("error", [TimeoutError(), QueryTimeout("any", "too late")])
    async def test_a_timeout_counts_where_there_was_time(self, breaker: CircuitBreaker, error: Exception) -> None:
        for wait_s in (0, 0.05):
            with pytest.raises(type(error)):
                await wait(breaker, wait_s, error=error)
        assert counted(breaker) == (1, 1)

    async def test_a_deadline_further_out_counts(self, breaker: CircuitBreaker) -> None:
        with pytest.raises(TimeoutError):
            async with time_limit(0.05):
                await asyncio.gather(wait(breaker), wait(breaker))
        assert counted(breaker) == (2, 2)

    async def test_a_caller_that_leaves_does_not_count(self, breaker: CircuitBreaker) -> None:
        async with time_limit(60):
            asking = asyncio.create_task(wait(breaker))
            await asyncio.sleep(0.05)
            asking.cancel()
            await asyncio.wait([asking])
        assert counted(breaker) == (0, 0)

    async def test_a_block_that_knows_better_is_believed(self, breaker: CircuitBreaker) -> None:
        with pytest.raises(ConnectionError):
            fails_released(breaker)
        assert counted(breaker) == (0, 0)

    async def test_an_open_breaker_lets_the_block_not_begin(self, breaker: CircuitBreaker) -> None:
        for _ in range(5):
            breaker.admit().failed()
        with pytest.raises(CircuitOpen), guarded(breaker, failures=()):
            raise AssertionError
