"""What an operator should look at, as log events: the same alerts that Prometheus raises, for those who have none."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from deployments.metrics import Sample

log = logging.getLogger("shortlist.alerts")

WINDOW_S = 300.0
"""The time over which the growth of a total counts."""

CALM_S = 60.0
"""An alert is over once its cause was away for so long; what comes and goes meanwhile is one alert."""

_Key = tuple[str, tuple[tuple[str, str], ...]]


@dataclass(frozen=True, slots=True)
class Finding:
    """
    Something that is wrong at this moment.

    Attributes:
        subject: What it is wrong with, among all that the rule looks at: ``replica-1``, ``redis``.
        text: What, with the numbers.
    """

    subject: str
    text: str


class Figures:
    """
    What a process has counted, now and over the last minutes.

    Args:
        now: Each series' newest value.
        before: The value of each total at the start of the window; a total that is not there stood at 0.
    """

    def __init__(self, now: Mapping[_Key, float], before: Mapping[_Key, float]) -> None:
        self._now = now
        self._before = before

    def now(self, name: str) -> Iterator[tuple[dict[str, str], float]]:
        """Yield tags and value of each series of the gauge *name*."""
        for (metric, tags), value in self._now.items():
            if metric == name:
                yield dict(tags), value

    def grown(self, name: str) -> Iterator[tuple[dict[str, str], float]]:
        """Yield tags and growth within the window of each series of the total *name*."""
        for (metric, tags), value in self._now.items():
            if metric == name:
                yield dict(tags), value - self._before.get((metric, tags), 0.0)


@dataclass(frozen=True, slots=True)
class Rule:
    """
    When to raise an alert.

    Attributes:
        alert: Its name, which is also the name in ``cluster/monitoring/alerts.yaml``.
        findings: What is wrong now.
        advice: What to do about it.
        held_s: How long it must have been wrong.
    """

    alert: str
    findings: Callable[[Figures], Iterable[Finding]]
    advice: str
    held_s: float = 0.0


@dataclass(slots=True)
class _Case:
    """One alert about one subject."""

    since: float
    seen_at: float
    text: str
    firing: bool = False


class Alerts:
    """
    Logs one line when an alert fires and one when it is resolved.

    Args:
        rules: When to raise which.
        clock: Seconds, never going back.
    """

    def __init__(self, rules: Sequence[Rule], *, clock: Callable[[], float] = time.monotonic) -> None:
        self._rules = rules
        self._clock = clock
        self._history: deque[tuple[float, dict[_Key, float]]] = deque()
        self._cases: dict[tuple[str, str], _Case] = {}

    def look(self, samples: Iterable[Sample]) -> None:
        """Compare what is counted now with the rules."""
        now_s = self._clock()
        now, totals = {}, {}
        for sample in samples:
            key = (sample.name, tuple(sorted(sample.tags.items())))
            now[key] = float(sample.value)
            if sample.kind == "total":
                totals[key] = now[key]
        figures = Figures(now, self._before(now_s))
        self._history.append((now_s, totals))
        for rule in self._rules:
            for finding in rule.findings(figures):
                self._found(rule, finding, now_s)
        self._end(now_s)

    def firing(self) -> list[dict[str, str]]:
        """Return the alerts that are on, oldest first."""
        on = sorted((case.since, alert, case.text) for (alert, _), case in self._cases.items() if case.firing)
        return [{"alert": alert, "text": text} for _, alert, text in on]

    def _before(self, now_s: float) -> dict[_Key, float]:
        while len(self._history) > 1 and self._history[1][0] <= now_s - WINDOW_S:
            self._history.popleft()
        began_at, values = self._history[0] if self._history else (now_s, {})
        # A process that is younger than the window began with nothing counted.
        return values if began_at <= now_s - WINDOW_S else {}

    def _found(self, rule: Rule, finding: Finding, now_s: float) -> None:
        case = self._cases.setdefault((rule.alert, finding.subject), _Case(now_s, now_s, finding.text))
        case.seen_at, case.text = now_s, finding.text
        if not case.firing and now_s - case.since >= rule.held_s:
            case.firing = True
            log.warning("ALERT %s firing: %s %s", rule.alert, finding.text, rule.advice)

    def _end(self, now_s: float) -> None:
        for (alert, subject), case in list(self._cases.items()):
            # One that has not fired begins anew; one that has stays on until it has been calm for a while.
            if case.seen_at < now_s and (not case.firing or now_s - case.seen_at >= CALM_S):
                del self._cases[alert, subject]
                if case.firing:
                    on_s = case.seen_at - case.since
                    log.warning("ALERT %s resolved: after %.0f s. It was: %s", alert, on_s, case.text)
