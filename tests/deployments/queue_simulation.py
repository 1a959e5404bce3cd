"""Gateways before a few servers, in simulated time: arrivals at random, a queue, times of service at random."""

from __future__ import annotations

import heapq
import math
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from deployments.adaptive_limit import AdaptiveLimit, Evidence, LimitRules

SERVICE_S = 0.015
SERVERS = 2
CAPACITY = SERVERS / SERVICE_S
SPREAD = 0.5

Request = tuple[AdaptiveLimit, float]


@dataclass
class Stretch:
    """What happened in a stretch of time: milliseconds that answers took, and refusals."""

    seconds: float
    took_ms: list[float] = field(default_factory=list)
    refused: int = 0

    @property
    def goodput(self) -> float:
        """Answers a second."""
        return len(self.took_ms) / self.seconds

    @property
    def shed(self) -> float:
        """The share refused."""
        return self.refused / (self.refused + len(self.took_ms))

    def percentile(self, share: float) -> float:
        """Milliseconds that *share* of the answers took at most."""
        return sorted(self.took_ms)[math.ceil(len(self.took_ms) * share) - 1]


@dataclass
class Conditions:
    """
    What the world is like.

    Attributes:
        rate: Requests a second.
        slowness_s: Seconds that each answer takes beside its service, without keeping a server busy.
        patience_s: An answer that took longer counts as having waited in vain.
    """

    rate: float
    slowness_s: float = 0.0
    patience_s: float = math.inf


class Simulation:
    """Two gateways, each with a limit of its own, over servers with one queue."""

    def __init__(self, *, seed: int, rules: LimitRules | None = None, service_s: float = SERVICE_S) -> None:
        self.now = 0.0
        self.limits = [AdaptiveLimit(rules, clock=lambda: self.now, busy=self._meter()) for _ in range(2)]
        self._service_s = service_s
        self._random = random.Random(seed)  # noqa: S311 - arrivals, not secrets
        self._queue: deque[Request] = deque()
        self._busy = 0
        self._worked_s = 0.0
        self._number = 0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._conditions = Conditions(rate=1.0)
        self._stretch = Stretch(1.0)
        self._after(0.0, self._arrive)

    def run(self, seconds: float, conditions: Conditions) -> Stretch:
        """Go on for *seconds*."""
        self._conditions, self._stretch = conditions, Stretch(seconds)
        until = self.now + seconds
        while self._events[0][0] <= until:
            self.now, _, happen = heapq.heappop(self._events)
            happen()
        self.now = until
        return self._stretch

    def _meter(self) -> Callable[[], float]:
        """The share of the servers' time that was worked since it was asked last."""
        last_s, last_worked_s = 0.0, 0.0

        def busy() -> float:
            nonlocal last_s, last_worked_s
            share = (self._worked_s - last_worked_s) / max(SERVERS * (self.now - last_s), 1e-9)
            last_s, last_worked_s = self.now, self._worked_s
            return share

        return busy

    def _after(self, seconds: float, happen: Callable[[], None]) -> None:
        self._number += 1
        heapq.heappush(self._events, (self.now + seconds, self._number, happen))

    def _arrive(self) -> None:
        self._after(self._random.expovariate(self._conditions.rate), self._arrive)
        limit = min(self.limits, key=lambda one: one.in_flight)
        entered = limit.enter()
        if entered is None:
            self._stretch.refused += 1
            return
        self._queue.append((limit, entered))
        self._serve()

    def _serve(self) -> None:
        while self._busy < SERVERS and self._queue:
            request = self._queue.popleft()
            self._busy += 1
            service_s = self._random.lognormvariate(math.log(self._service_s) - SPREAD**2 / 2, SPREAD)
            self._after(service_s, lambda request=request, service_s=service_s: self._served(request, service_s))  # type: ignore[misc]

    def _served(self, request: Request, service_s: float) -> None:
        self._busy -= 1
        self._worked_s += service_s
        self._after(self._conditions.slowness_s, lambda: self._answered(request))
        self._serve()

    def _answered(self, request: Request) -> None:
        limit, entered = request
        took_s = self.now - entered
        evidence: Evidence = "waited" if took_s > self._conditions.patience_s else "answered"
        limit.leave(entered, evidence)
        self._stretch.took_ms.append(took_s * 1000)
