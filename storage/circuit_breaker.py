"""Whether to ask a dependency at all: a state machine over what asking it has shown. No I/O; the clock is given."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from storage.config import BreakerConfig
from storage.errors import CircuitOpen
from storage.outcome_window import OutcomeWindow

BreakerState = Literal["closed", "open", "half_open"]


@dataclass(frozen=True, slots=True)
class Transition:
    """
    A breaker's change of state, and the numbers behind it.

    Attributes:
        breaker: Its name.
        before: The state it left.
        after: The state it is in now.
        failures: Failed calls of the window.
        outcomes: Calls of the window that succeeded or failed.
        consecutive: Failures since the last success.
        rejected: Calls refused since it was last closed.
        probes: Probes that succeeded in the half-open state.
        after_s: Seconds spent in the state before.
    """

    breaker: str
    before: BreakerState
    after: BreakerState
    failures: int
    outcomes: int
    consecutive: int
    rejected: int
    probes: int
    after_s: float

    def __str__(self) -> str:
        return (
            f"breaker {self.breaker}: {self.before} -> {self.after} after {self.after_s:.1f} s; {self.failures} of "
            f"{self.outcomes} calls failed in its window, {self.consecutive} in a row, {self.rejected} refused, "
            f"{self.probes} probes succeeded"
        )


@dataclass(frozen=True, slots=True)
class BreakerStatus:
    """
    A breaker as it is now.

    Attributes:
        state: ``closed`` all calls pass, ``open`` none, ``half_open`` one in ten.
        for_s: Seconds in this state.
        failures: Failed calls of the window.
        outcomes: Calls of the window that succeeded or failed.
        consecutive: Failures since the last success.
        opened_total: Times it has opened.
        half_opened_total: Times it has begun to probe.
        closed_total: Times it has closed again.
        rejected_total: Calls refused.
    """

    state: BreakerState
    for_s: float
    failures: int
    outcomes: int
    consecutive: int
    opened_total: int
    half_opened_total: int
    closed_total: int
    rejected_total: int


class CircuitBreaker:
    """
    Stops asking a dependency that keeps failing; asks again, a little, after a while. For use on one thread.

    Closed, every call passes. It opens on a failure that is one of so many in a row, or that leaves too large a share
    of the window's calls failed. Open, every call is refused; after its time it is half open: the first of each ten
    calls passes as a probe. Enough probes that succeed close it, one that fails opens it again. What a call brings
    counts only in the stretch of one state in which it was admitted. A probe that brings nothing holds up nobody: the
    next ten calls have a probe of their own.

    Args:
        name: Of the dependency: ``postgres:primary``, ``redis``, ``semantic``, ``search``, ...
        rules: When it opens and closes.
        clock: Seconds from an arbitrary start, never going back.
        on_change: Told of each change of state, once it has happened; as `listen`.
    """

    def __init__(
        self,
        name: str,
        rules: BreakerConfig = BreakerConfig(),  # noqa: B008 - it is frozen
        *,
        clock: Callable[[], float] = time.monotonic,
        on_change: Callable[[Transition], None] | None = None,
    ) -> None:
        self.name = name
        self.rules = rules
        self.clock = clock
        self.generation = 0
        self._listeners = [] if on_change is None else [on_change]
        self._state: BreakerState = "closed"
        self._since = clock()
        self._window = OutcomeWindow(math.ceil(rules.window_s))
        self._one_in = max(1, round(1 / rules.half_open_share))
        self._consecutive = self._calls = self._probes = self._rejected = 0
        self._rejected_total = 0
        self._entered: dict[BreakerState, int] = {"closed": 0, "open": 0, "half_open": 0}

    @property
    def state(self) -> BreakerState:
        """The state now."""
        if self._state == "open" and self.clock() - self._since >= self.rules.open_s:
            self._turn("half_open")
        return self._state

    def admit(self, refusal: type[CircuitOpen] = CircuitOpen) -> Permit:
        """
        Return a permit for one call, whose outcome it is to be told.

        Raises:
            CircuitOpen: the dependency is not to be asked now; of the kind *refusal*.
        """
        if self._state != "closed" and not self._is_probe():
            self._rejected += 1
            self._rejected_total += 1
            raise refusal(self.name, retry_in_s=self.retry_in_s)
        return Permit(self)

    def begin_background_probe(self) -> Permit:
        """
        Return the permit of a health check, which is made whatever the state is.

        Begun half open it is a probe, and counts as one as long as that state lasts; else its outcome is nothing.
        """
        is_probe = self.state == "half_open"
        permit = Permit(self)
        if not is_probe:
            permit.released()
        return permit

    def record(self, generation: int, *, ok: bool) -> None:
        """Note the outcome of a call that was admitted in *generation*, the number of an uninterrupted state."""
        if generation != self.generation:
            return
        self._window.add(self.clock(), failed=not ok)
        self._consecutive = 0 if ok else self._consecutive + 1
        if self._state == "half_open":
            self._weigh_probe(ok=ok)
        elif not ok and self._has_failed_too_often():
            self._turn("open")

    @property
    def retry_in_s(self) -> float:
        """Seconds until it may be worth to ask again; 0 unless it is open."""
        return max(0.0, self._since + self.rules.open_s - self.clock()) if self._state == "open" else 0.0

    def listen(self, listener: Callable[[Transition], None]) -> None:
        """Have *listener* told of each change of state, once it has happened. It must not raise."""
        self._listeners.append(listener)

    def status(self) -> BreakerStatus:
        """Return what it has come to."""
        state = self.state
        failures, outcomes = self._window.counts(self.clock())
        return BreakerStatus(
            state=state,
            for_s=round(self.clock() - self._since, 1),
            failures=failures,
            outcomes=outcomes,
            consecutive=self._consecutive,
            opened_total=self._entered["open"],
            half_opened_total=self._entered["half_open"],
            closed_total=self._entered["closed"],
            rejected_total=self._rejected_total,
        )

    def _is_probe(self) -> bool:
        if self.state == "open":
            return False
        self._calls += 1
        return self._calls % self._one_in == 1 or self._one_in == 1

    def _weigh_probe(self, *, ok: bool) -> None:
        self._probes += ok
        if not ok:
            self._turn("open")
        elif self._probes >= self.rules.probes_to_close:
            self._turn("closed")

    def _has_failed_too_often(self) -> bool:
        if self._consecutive >= self.rules.consecutive:
            return True
        failures, outcomes = self._window.counts(self.clock())
        return outcomes >= self.rules.minimum_volume and failures >= self.rules.error_share * outcomes

    def _turn(self, state: BreakerState) -> None:
        now = self.clock()
        failures, outcomes = self._window.counts(now)
        change = Transition(
            breaker=self.name,
            before=self._state,
            after=state,
            failures=failures,
            outcomes=outcomes,
            consecutive=self._consecutive,
            rejected=self._rejected,
            probes=self._probes,
            after_s=now - self._since,
        )
        self.generation += 1
        self._state, self._since = state, now
        self._entered[state] += 1
        self._calls = self._probes = 0
        if state == "closed":
            self._consecutive = self._rejected = 0
            self._window.clear()
        for listener in self._listeners:
            listener(change)


class Permit:
    """
    One call to a dependency; the first of its methods that is called counts, the others do nothing.

    A permit that is never told how the call went has no effect.
    """

    __slots__ = ("_admitted_at", "_breaker", "_generation", "_is_resolved")

    def __init__(self, breaker: CircuitBreaker) -> None:
        self._breaker = breaker
        self._generation = breaker.generation
        self._admitted_at = breaker.clock()
        self._is_resolved = False

    def succeeded(self) -> None:
        """Note that the dependency did what it was asked."""
        self._resolve(ok=True)

    def failed(self) -> None:
        """Note that it did not, through its own fault."""
        self._resolve(ok=False)

    def timed_out(self) -> None:
        """Note that it did not answer in time: its failure, unless the time was too short to tell."""
        if self._breaker.clock() - self._admitted_at >= self._breaker.rules.least_wait_s:
            self.failed()
        else:
            self.released()

    def released(self) -> None:
        """Note that nothing was learned: the caller left, or asked for something impossible."""
        self._is_resolved = True

    def _resolve(self, *, ok: bool) -> None:
        if not self._is_resolved:
            self._is_resolved = True
            self._breaker.record(self._generation, ok=ok)
