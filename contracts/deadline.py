"""How long a request may still take."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field


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
