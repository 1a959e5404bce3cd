"""Room for a short burst to wait before a limit. A flood waits for nothing."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable

from deployments.adaptive_limit import AdaptiveLimit, Evidence

CALM_S = 0.25


class BurstQueue:
    """
    Lets requests wait in turn for room under *limit*, in the first moments after one found none.

    A page that asks for ten things at once, or the first clients of a replica that does not yet know its limit, are
    answered a little later. Where there is still no room after *longest_s* there is too much to do, and waiting would
    only make every answer late: from then on what does not fit is refused at once, until *CALM_S* have passed in which
    all that came found room.

    Source:
        Maurer, "Fail at scale", ACM Queue 13(8), 2015 (a queue that stands shortens its timeout), with a timeout of 0.

    Args:
        limit: What they wait for.
        most: Requests that wait at once.
        longest_s: The longest that one waits.
        clock: Seconds, never going back.
    """

    def __init__(
        self, limit: AdaptiveLimit, *, most: int, longest_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.limit = limit
        self._most = most
        self._longest_s = longest_s
        self._clock = clock
        self._waiting: deque[asyncio.Future[float]] = deque()
        self._pressed_at = self._burst_ends_at = -CALM_S

    def __len__(self) -> int:
        """How many wait."""
        return len(self._waiting)

    def refuses(self) -> bool:
        """Whether a request would be refused now without waiting."""
        return bool(self._waiting or self.limit.full) and not self._may_wait()

    async def enter(self) -> float | None:
        """Return the moment at which a request is taken, to be given back to :meth:`leave`; None: it is refused."""
        entered = None if self._waiting else self.limit.enter()
        if entered is not None or not self._may_wait():
            return entered
        turn: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await asyncio.wait([turn], timeout=self._burst_ends_at - self._clock())
        except asyncio.CancelledError:
            if turn.done():
                self.leave(turn.result(), "none")
            raise
        finally:
            if not turn.done():
                self._waiting.remove(turn)
        return turn.result() if turn.done() else None

    def leave(self, entered: float, evidence: Evidence = "answered") -> None:
        """Let go of a request taken at *entered*, and take the next ones."""
        self.limit.leave(entered, evidence)
        while self._waiting and (taken := self.limit.enter()) is not None:
            self._waiting.popleft().set_result(taken)

    def _may_wait(self) -> bool:
        now = self._clock()
        if now - self._pressed_at > CALM_S:
            self._burst_ends_at = now + self._longest_s
        self._pressed_at = now
        return now < self._burst_ends_at and len(self._waiting) < self._most
