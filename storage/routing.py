"""Whom to read from: a state machine over what probes and reads have shown. No I/O and no clock."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

PRIMARY = "primary"
HALF = 0.5
"""The share of the lag limit below which a replica counts as caught up."""

Diverted = Literal["unavailable", "replica_lag", "timeout", "circuit_open"]


@dataclass(frozen=True, slots=True)
class RoutingRules:
    """
    When a replica is read from.

    Attributes:
        lag_limit_ms: A replica further behind is lagging.
        return_after: Measurements in a row, at most half the limit, after which it is not; also the fewest
            measurements between two changes of mind.
        good_probes: Probes in a row that a replica must answer after it failed.
        diverted_reads: Most reads at once that the primary takes because every replica lags.
    """

    lag_limit_ms: float
    return_after: int
    good_probes: int
    diverted_reads: int


@dataclass(frozen=True, slots=True)
class Route:
    """Where a read may go; why the primary, where replicas should have answered; whether it is a lagging replica."""

    name: str
    diverted: Diverted | None = None
    stale: bool = False


class ReplicaGate:
    """
    Whether one replica answers, and whether it is fresh enough.

    Attributes:
        answers: False from a failure on until it has answered a few probes in a row; the first one counts where it has
            never answered before.
        lagging: Whether it was beyond the limit and has not caught up since.
        lag_ms: As last measured; None where that is unknown.
    """

    def __init__(self, rules: RoutingRules) -> None:
        self.answers = True
        self.lagging = False
        self.lag_ms: float | None = None
        self._rules = rules
        self._has_answered = False
        self._good_probes = 0
        self._caught_up = 0
        self._since_switch = rules.return_after

    @property
    def usable(self) -> bool:
        """Whether it is to be read from."""
        return self.answers and not self.lagging

    def measured(self, lag_ms: float | None) -> None:
        """Note a probe that was answered; *lag_ms* is None where there was nothing to measure against."""
        self._good_probes += 1
        if self._good_probes >= self._rules.good_probes or not self._has_answered:
            self.answers = True
        self._has_answered = True
        self.lag_ms = lag_ms
        if lag_ms is not None:
            self._weigh(lag_ms)

    def failed(self) -> None:
        """Note a probe or a read that failed."""
        self.answers = False
        self.lag_ms = None
        self._good_probes = 0

    def _weigh(self, lag_ms: float) -> None:
        self._since_switch += 1
        low = lag_ms <= self._rules.lag_limit_ms * HALF
        self._caught_up = self._caught_up + 1 if low else 0
        if self.lagging:
            turns = self._caught_up >= self._rules.return_after
        else:
            turns = lag_ms > self._rules.lag_limit_ms and self._since_switch > self._rules.return_after
        if turns:
            self.lagging = not self.lagging
            self._since_switch = 0
            self._caught_up = 0


class Router:
    """
    Reads go to the replica that lags least; to the primary when none is usable; to a lagging one to spare the primary.

    Args:
        replicas: Names of the read replicas.
        rules: When they are read from.
    """

    def __init__(self, replicas: Iterable[str], rules: RoutingRules) -> None:
        self.gates = {name: ReplicaGate(rules) for name in replicas}
        self._most_diverted = rules.diverted_reads
        self._diverted_now = 0

    def usable(self) -> list[str]:
        """Return the replicas to read from, least lag first."""
        return self._by_lag(name for name, gate in self.gates.items() if gate.usable)

    def next_route(self, tried: Sequence[str], *, primary_answers: bool) -> Route | None:
        """
        Return where a read is to go that has *tried* some servers in vain; None when there is nobody left.

        Usable replicas come first; then the primary, unless it does not answer or has its fill of reads that should
        have gone to replicas, when lagging replicas come before it; then, as better than nothing, any other replica.
        """
        left = [name for name in self.gates if name not in tried]
        usable = self._by_lag(name for name in left if self.gates[name].usable)
        lagging = self._by_lag(name for name in left if self.gates[name].answers and self.gates[name].lagging)
        if usable:
            return Route(usable[0])
        if PRIMARY not in tried and (not lagging or (primary_answers and not self._is_full)):
            return Route(PRIMARY, diverted=self._why_primary(lagging))
        if lagging:
            return Route(lagging[0], stale=True)
        return Route(left[0], stale=self.gates[left[0]].lagging) if left else None

    def primary_route(self) -> Route | None:
        """
        Return the route of a read that no replica may answer, which is to the primary.

        None where every replica lags and the primary has its fill of reads that should have gone to replicas.
        """
        route = Route(PRIMARY, diverted=self._diversion())
        return None if route.diverted == "replica_lag" and self._is_full else route

    @contextmanager
    def running(self, route: Route) -> Iterator[None]:
        """Count a read on *route* while it runs."""
        counts = route.diverted == "replica_lag"
        self._diverted_now += counts
        try:
            yield
        finally:
            self._diverted_now -= counts

    @property
    def _is_full(self) -> bool:
        return self._diverted_now >= self._most_diverted

    def _diversion(self) -> Diverted | None:
        """Why a read goes to the primary now, though there are replicas; None where that is no diversion."""
        if not self.gates or any(gate.usable for gate in self.gates.values()):
            return None
        return "replica_lag" if any(gate.answers for gate in self.gates.values()) else "unavailable"

    def _why_primary(self, lagging: Sequence[str]) -> Diverted | None:
        if not self.gates:
            return None
        return "replica_lag" if lagging else "unavailable"

    def _by_lag(self, names: Iterable[str]) -> list[str]:
        return sorted(names, key=lambda name: (self.gates[name].lag_ms or 0.0, name))
