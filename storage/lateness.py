"""Which servers hang just now. One that is slow, or that we are too busy to hear, answers others meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable

from storage.errors import QueryTimeout

PASSED_OVER_S = 1.0
"""A server that let a read wait in vain, and answered nobody meanwhile, is asked after the others for so long."""


class Lateness:
    """
    Remembers for a moment which server let a read wait in vain.

    Args:
        clock: Seconds, never going back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._answered_at: dict[str, float] = {}
        self._late: dict[str, tuple[float, QueryTimeout]] = {}

    def now(self) -> float:
        """The moment, to be given to `waited`."""
        return self._clock()

    def answered(self, name: str) -> None:
        """Note that the server *name* answered a read."""
        self._answered_at[name] = self._clock()
        self._late.pop(name, None)

    def waited(self, name: str, since: float, error: QueryTimeout) -> None:
        """Note that a read waited for *name* from *since* until now, and had to give up."""
        if self._answered_at.get(name, since) <= since:
            self._late[name] = self._clock() + PASSED_OVER_S, error

    def of(self, name: str) -> QueryTimeout | None:
        """Return how *name* was late a moment ago; None where it was not."""
        until, error = self._late.get(name, (0.0, None))
        return error if self._clock() < until else None
