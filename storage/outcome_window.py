"""How many of the calls of the last minute failed, second by second."""

from __future__ import annotations


class OutcomeWindow:
    """
    Counts calls and failures in buckets of a second; the oldest are forgotten as time goes on.

    Args:
        seconds: Buckets to keep, the present one included.
    """

    def __init__(self, seconds: int) -> None:
        self._seconds = seconds
        self._calls = [0] * seconds
        self._failures = [0] * seconds
        self._all_calls = self._all_failures = 0
        self._second = 0

    def add(self, now_s: float, *, failed: bool) -> None:
        """Count a call that ended at *now_s*, seconds of a clock that never goes back."""
        self._forget(now_s)
        bucket = self._second % self._seconds
        self._calls[bucket] += 1
        self._all_calls += 1
        if failed:
            self._failures[bucket] += 1
            self._all_failures += 1

    def counts(self, now_s: float) -> tuple[int, int]:
        """Return the failures and the calls that the window holds at *now_s*."""
        self._forget(now_s)
        return self._all_failures, self._all_calls

    def clear(self) -> None:
        """Forget all."""
        self._calls = [0] * self._seconds
        self._failures = [0] * self._seconds
        self._all_calls = self._all_failures = 0

    def _forget(self, now_s: float) -> None:
        second = int(now_s)
        if second <= self._second:
            return
        if second - self._second >= self._seconds:
            self.clear()
        else:
            for passed in range(self._second + 1, second + 1):
                bucket = passed % self._seconds
                self._all_calls -= self._calls[bucket]
                self._all_failures -= self._failures[bucket]
                self._calls[bucket] = self._failures[bucket] = 0
        self._second = second
