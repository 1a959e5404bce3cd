"""How often a part that dies is started again."""

from __future__ import annotations

import time
from collections.abc import Callable


class Restarts:
    """
    At most *most* restarts within *window_s* seconds, each after twice the pause of the one before.

    Args:
        most: Restarts within the window before it gives up.
        window_s: Length of the window in seconds.
        clock: Seconds on a clock that never goes back.
    """

    def __init__(self, *, most: int = 5, window_s: float = 300.0, clock: Callable[[], float] = time.monotonic) -> None:
        self.most = most
        self.window_s = window_s
        self.clock = clock
        self.count = 0
        self._recent: list[float] = []

    def next_pause(self) -> float | None:
        """Return how many seconds to wait before the next restart, or None when there were too many."""
        now = self.clock()
        self._recent = [moment for moment in self._recent if now - moment < self.window_s]
        if len(self._recent) >= self.most:
            return None
        pause = 0.0 if not self._recent else min(10.0, 0.5 * 2.0 ** len(self._recent))
        self._recent.append(now)
        self.count += 1
        return pause
