"""How long a request may still take, and whether it is the end of that time that cancels."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

_limits: ContextVar[tuple[_Limit, ...]] = ContextVar("limits", default=())


@dataclass(frozen=True, slots=True)
class Deadline:
    """
    A moment on this process's monotonic clock. Between processes the time left travels, never the moment.

    Attributes:
        at_s: The moment, in seconds of *clock*.
        clock: Seconds from an arbitrary start, never going back.
    """

    at_s: float
    clock: Callable[[], float] = field(default=time.monotonic, repr=False)

    @classmethod
    def in_seconds(cls, seconds: float, *, clock: Callable[[], float] = time.monotonic) -> Deadline:
        """The deadline *seconds* from now."""
        return cls(at_s=clock() + seconds, clock=clock)

    def left_s(self, share: float = 1.0) -> float:
        """Seconds left, at least 0, times *share*: what a step may take so that something is left for the next."""
        return max(0.0, self.at_s - self.clock()) * share


@dataclass(slots=True)
class _Limit:
    """A time limit; a task that outlives its block is no longer bound by it."""

    timeout: asyncio.Timeout
    is_over: bool = False


@asynccontextmanager
async def time_limit(seconds: float | None) -> AsyncIterator[asyncio.Timeout]:
    """
    Cancel the block after *seconds*, as `asyncio.timeout`; what it awaits can ask how long it has, and why it ends.

    Raises:
        TimeoutError: the time was up.
    """
    async with asyncio.timeout(seconds) as timeout:
        limit = _Limit(timeout)
        token = _limits.set((*_limits.get(), limit))
        try:
            yield timeout
        finally:
            limit.is_over = True
            _limits.reset(token)


def out_of_time() -> bool:
    """Whether the time of a `time_limit` around the caller, or around a task that it is part of, was up."""
    return any(limit.timeout.expired() for limit in _limits.get() if not limit.is_over)


def time_left_s() -> float | None:
    """Return the seconds until the first `time_limit` around the caller ends, at least 0; None without one."""
    ends = [end for limit in _limits.get() if not limit.is_over and (end := limit.timeout.when()) is not None]
    return max(0.0, min(ends) - asyncio.get_running_loop().time()) if ends else None
