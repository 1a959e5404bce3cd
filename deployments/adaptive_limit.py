"""How many reads at once: a bound that finds itself, from the times that answers take."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

Evidence = Literal["answered", "waited", "refused", "none"]
"""
What the time of a request says: it was ``answered``; it ``waited`` in vain for a part, which may be down or busy; a
part ``refused`` it because it had too much to do; ``none``, nothing.
"""


@dataclass(frozen=True, slots=True)
class LimitRules:
    """
    When the limit moves.

    Attributes:
        floor: Requests at once that are always taken. So few that they cannot keep each other waiting: what they take
            is the time without load.
        first: The limit to begin with, and to return to when nothing presses.
        ceiling: The highest limit.
        target_s: 95th percentile of the answers' times up to which all is well.
        tolerance: Where answers take long without load, so many times that is well too.
        highest_target_s: The highest target all the same: the deadline of most requests is a second.
        window_s: Seconds between two looks.
        least_answers: Fewer in a window say nothing about load.
        patience: Windows in a row whose requests mostly waited in vain until that counts as load. A part that fails is
            taken out by its breaker before.
        remeasure_s: While slowness without load is what allows a higher target, the limit falls to the floor for a
            window this often, to see whether that is still so.
    """

    floor: int = 1
    first: int = 4
    ceiling: int = 100
    target_s: float = 0.075
    tolerance: float = 3.0
    highest_target_s: float = 0.5
    window_s: float = 1.0
    least_answers: int = 20
    patience: int = 2
    remeasure_s: float = 60.0


@dataclass(slots=True)
class Window:
    """
    What was seen since the last look.

    Attributes:
        began: When it began.
        peak: Most requests in flight.
        reached: Whether more was asked for than the limit.
        answered: Seconds that answers took; a refusal within counts as endless.
        waited: Seconds that requests waited in vain for a part.
    """

    began: float
    peak: int
    reached: bool = False
    answered: list[float] = field(default_factory=list)
    waited: list[float] = field(default_factory=list)


# A window with few answers waits for more, so long.
LONGEST_WINDOWS = 5
# Below this share of the target the limit grows, above the target it shrinks, between it stays.
CALM = 0.8
GROWTH = 0.1
MOST_SHRINKING = 0.5
UNLOADED_ANSWERS = 5
# Answers a second at the floor, as a share of the most there were: with more, the floor is load itself.
MOST_ANSWERS_UNLOADED = 0.5
# Of the processors' time: with more, whatever takes long does so for want of them.
SATURATED = 0.9


class AdaptiveLimit:
    """
    A bound on requests in flight that shrinks in proportion when answers take too long, else grows slowly.

    There is no queue: what does not fit is refused at once. Answers take long for one of two reasons, too much at once
    or a part that is slow, and only the first is helped by refusing. They are told apart by what answers take with no
    more than ``floor`` requests in flight: the target is the higher of ``target_s`` and ``tolerance`` times that. A
    limit that shrank in vain ends at the floor, measures there and goes back. It shrank in vain if much fewer are
    answered than were before, and the processors are not all at work: else even so few at once keep busy what they
    need, or others do, and the lowest time that was ever seen stands.

    Source:
        AIMD: Chiu, Jain, "Analysis of the increase and decrease algorithms for congestion avoidance", 1989. The time
        without load as the measure: Brakmo, Peterson, "TCP Vegas", 1995.

    Args:
        rules: When the limit moves.
        clock: Seconds, never going back.
        busy: The share of the processors' time that was worked since it was asked last.
    """

    def __init__(
        self,
        rules: LimitRules | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        busy: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self._rules = rules or LimitRules()
        self._clock = clock
        self._busy = busy
        self._limit = float(self._rules.first)
        self._unloaded_s = 0.0
        self._measured_at = clock()
        self._measuring = False
        self._leaping = True
        self._waiting_windows = 0
        self._most_answers = (0.0, clock())
        self.in_flight = 0
        self._begin(clock())
        # Requests that began before the limit last shrank tell of the time before.
        self._since = self._window.began

    @property
    def limit(self) -> int:
        """Most requests in flight now."""
        return self._rules.floor if self._measuring else int(self._limit)

    @property
    def full(self) -> bool:
        """Whether a request would be refused now."""
        self._look(self._clock())
        self._window.reached = self._window.reached or self.in_flight >= self.limit
        return self.in_flight >= self.limit

    @property
    def target_s(self) -> float:
        """The 95th percentile above which the limit shrinks."""
        rules = self._rules
        return max(rules.target_s, min(rules.highest_target_s, rules.tolerance * self._unloaded_s))

    def enter(self) -> float | None:
        """Return the moment at which a request is taken, to be given back to :meth:`leave`; None: it is refused."""
        if self.full:
            return None
        now = self._clock()
        self.in_flight += 1
        self._window.peak = max(self._window.peak, self.in_flight)
        return now

    def leave(self, entered: float, evidence: Evidence = "answered") -> None:
        """Let go of a request taken at *entered*."""
        now = self._clock()
        self.in_flight -= 1
        if entered >= self._since:
            if evidence == "answered":
                self._window.answered.append(now - entered)
            elif evidence == "waited":
                self._window.waited.append(now - entered)
            elif evidence == "refused":
                self._window.answered.append(math.inf)
        self._look(now)

    @property
    def window(self) -> Window:
        """What was seen since the last look."""
        return self._window

    def _begin(self, now: float) -> None:
        self._window = Window(began=now, peak=self.in_flight)

    def _look(self, now: float) -> None:
        """Move the limit, if a window has ended."""
        age = now - self._window.began
        if self._measuring and self._window.peak > self._rules.floor and self.in_flight <= self._rules.floor:
            # Those taken before the measurement are gone.
            self._since = now
            self._begin(now)
            return
        if age < self._rules.window_s:
            return
        seen = len(self._window.answered) + len(self._window.waited)
        enough = UNLOADED_ANSWERS if self.limit == self._rules.floor else self._least_answers
        if seen < enough and age < LONGEST_WINDOWS * self._rules.window_s:
            return
        self._decide(now)
        self._begin(now)

    @property
    def _least_answers(self) -> int:
        """Where requests are refused, half as many must do: a slow answer is then hardly by chance."""
        return self._rules.least_answers // (2 if self._window.reached else 1)

    def _decide(self, now: float) -> None:
        times = self._evidence()
        observed_s = times[math.ceil(len(times) * 0.95) - 1] if times else 0.0
        unloaded = self._window.peak <= self._rules.floor
        saturated = self._busy() >= SATURATED
        in_vain = (self._answers_few(now) or not self._window.reached) and not saturated
        if unloaded and len(times) >= UNLOADED_ANSWERS:
            median_s = times[len(times) // 2]
            self._measure(now, median_s if in_vain else min(median_s, self._unloaded_s))
        if not unloaded and len(times) >= self._least_answers and observed_s > self.target_s:
            self._shrink(now, observed_s)
        elif times and observed_s <= CALM * self.target_s and not self._measuring:
            self._grow()
        self._measuring = not self._measuring and self._must_measure(now)
        if self._measuring:
            self._measured_at = now

    def _answers_few(self, now: float) -> bool:
        """Whether this window had much fewer answers a second than the best of the last while."""
        rate = sum(map(math.isfinite, self._window.answered)) / max(now - self._window.began, self._rules.window_s)
        most, at = self._most_answers
        if rate >= most or now - at > self._rules.remeasure_s:
            self._most_answers = rate, now
        return rate < MOST_ANSWERS_UNLOADED * most

    def _measure(self, now: float, median_s: float) -> None:
        """Take *median_s* for what answers take without load; a target that rises with it says it shrank in vain."""
        before_s = self.target_s
        self._unloaded_s = median_s if math.isfinite(median_s) else 0.0
        self._measured_at = now
        self._leaping = self._leaping or self.target_s > 2 * before_s

    def _must_measure(self, now: float) -> bool:
        raised = self._rules.tolerance * self._unloaded_s > self._rules.target_s
        return raised and self.limit > self._rules.floor and now - self._measured_at > self._rules.remeasure_s

    def _evidence(self) -> list[float]:
        """The times of this window that tell of load, sorted."""
        mostly = 2 * len(self._window.waited) > len(self._window.answered) + len(self._window.waited)
        self._waiting_windows = self._waiting_windows + 1 if mostly else 0
        believed = self._window.waited if self._waiting_windows >= self._rules.patience else []
        return sorted([*self._window.answered, *believed])

    def _shrink(self, now: float, observed_s: float) -> None:
        """Shrink from what was in flight, which may be less than the limit allowed."""
        factor = max(MOST_SHRINKING, self.target_s / observed_s)
        self._limit = max(float(self._rules.floor), min(self._limit, self._window.peak) * factor)
        self._since = now
        self._leaping = False

    def _grow(self) -> None:
        """Grow where more was asked for, else back to the first limit; in leaps until it shrinks for the first time."""
        rules = self._rules
        most = rules.ceiling if self._window.reached else rules.first
        more = self._limit if self._leaping else max(1.0, GROWTH * self._limit)
        self._limit = max(self._limit, min(float(most), self._limit + more))
