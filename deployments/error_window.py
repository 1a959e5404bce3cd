"""Whether a canary fails more often than the version in use, over the last five minutes."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable

WINDOW_S = 300.0
LEAST_ERRORS = 5
"""Fewer may be chance."""
MORE_THAN_ACTIVE = 0.02
"""By how much the share of requests that fail may be above that of the active version."""
_BUCKET_S = 10.0


class ErrorWindow:
    """
    Counts requests and errors of both versions.

    Args:
        clock: Seconds from an arbitrary start, never going back.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._buckets: dict[int, Counter[tuple[bool, bool]]] = {}

    def add(self, *, canary: bool, failed: bool) -> None:
        """Count a request."""
        self._buckets.setdefault(int(self._clock() // _BUCKET_S), Counter())[canary, failed] += 1

    def problem(self) -> str | None:
        """Say that the canary fails too often, with the numbers; or None."""
        oldest = int((self._clock() - WINDOW_S) // _BUCKET_S)
        for bucket in [bucket for bucket in self._buckets if bucket < oldest]:
            del self._buckets[bucket]
        counts = sum(self._buckets.values(), Counter[tuple[bool, bool]]())
        errors, requests = counts[True, True], counts[True, True] + counts[True, False]
        others, of_others = counts[False, True], counts[False, True] + counts[False, False]
        usual = others / of_others if of_others else 0.0
        if errors < LEAST_ERRORS or errors / requests <= usual + MORE_THAN_ACTIVE:
            return None
        return f"{errors} of {requests} requests failed within five minutes, {others} of {of_others} of the active one"
