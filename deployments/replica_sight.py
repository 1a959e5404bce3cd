"""What this process sees of the replicas it calls: which live, and where its calls are. Routers tell, hops ask."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Hashable
from contextvars import ContextVar


class Replicas:
    """
    The replicas of one deployment.

    Attributes:
        are_known: Whether there ever was one; before that nothing is known, and a call has to wait.
        live: How many calls can be sent to now.
    """

    def __init__(self) -> None:
        self.are_known = False
        self.live = 0
        self._underway: set[Journey] = set()
        self._lost: set[Hashable] = set()

    @property
    def are_gone(self) -> bool:
        """Whether there were replicas and none is left, so that a call would wait for a new one to start."""
        return self.are_known and self.live == 0

    def begin(self, journey: Journey) -> None:
        """Tell *journey* if it comes to a dead end."""
        self._underway.add(journey)

    def end(self, journey: Journey) -> None:
        """Forget *journey*."""
        self._underway.discard(journey)

    def changed(self, live: int) -> None:
        """Note that there are *live* replicas from now on."""
        self.live = live
        if live:
            self.are_known = True
            self._lost.clear()
        self._strand()

    def lost(self, replica: Hashable, *, live: int) -> None:
        """Note that *replica* does not answer, which leaves *live*."""
        self.live = live
        self._lost.add(replica)
        self._strand()

    def _strand(self) -> None:
        """End the calls that no replica has or can get; one that is still being worked on may well be answered."""
        if self.are_gone:
            for journey in list(self._underway):
                if journey.replica is None or journey.replica in self._lost:
                    journey.strand()


class Journey:
    """
    One call on its way.

    Attributes:
        replica: Where it was sent last; None while it waits for a replica to take it.
        is_stranded: Whether it was ended because no replica is left.
    """

    def __init__(self) -> None:
        self.replica: Hashable | None = None
        self.is_stranded = False
        self._doubt: Callable[[], None] | None = None
        self._loop = asyncio.get_running_loop()
        self._limit: asyncio.Timeout | None = None

    def limited_by(self, limit: asyncio.Timeout | None) -> None:
        """Note the time limit under which it is awaited; None once it is not any more."""
        self._limit = limit

    def sent(self, replica: Hashable, *, doubt: Callable[[], None]) -> None:
        """Note that it is on its way to *replica*; *doubt* lets that answer a probe before it gets another call."""
        self.replica, self._doubt = replica, doubt

    def doubt(self) -> None:
        """Let the replica that did not answer show that it lives before it gets another call."""
        if self._doubt is not None:
            self._doubt()

    def strand(self) -> None:
        """End it, from any thread: no replica is left to answer."""
        self._loop.call_soon_threadsafe(self._cut)

    def _cut(self) -> None:
        if self._limit is not None and not self._limit.expired():
            self.is_stranded = True
            self._limit.reschedule(self._loop.time())


CURRENT: ContextVar[Journey | None] = ContextVar("journey", default=None)
"""The call that is being made; the router that looks for a replica runs in a copy of its context."""

_REPLICAS: dict[tuple[str, str], Replicas] = {}


def replicas_of(application: str, deployment: str) -> Replicas:
    """Return what is known of the replicas of *deployment* in this process."""
    return _REPLICAS.setdefault((application, deployment), Replicas())


def note_sent(replica: Hashable, doubt: Callable[[], None]) -> None:
    """Note that the current call is being sent to *replica*."""
    journey = CURRENT.get()
    if journey is not None:
        journey.sent(replica, doubt=doubt)


def note_replicas(application: str, deployment: str, live: Collection[object]) -> None:
    """Note which replicas of *deployment* there are."""
    replicas_of(application, deployment).changed(len(live))


def note_lost(application: str, deployment: str, replica: Hashable, live: Collection[object]) -> None:
    """Note that a replica of *deployment* does not answer, and which are left."""
    replicas_of(application, deployment).lost(replica, live=len(live))
