"""The circuit breakers of one process, one for each thing it depends on."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from storage.circuit_breaker import BreakerStatus, CircuitBreaker, Transition
from storage.config import BreakerConfig

logger = logging.getLogger(__name__)


class Breakers:
    """
    Makes the breaker of a dependency when it is first asked for, and logs each change of its state in a line.

    Args:
        rules: Of every breaker.
        clock: Seconds from an arbitrary start, never going back.
    """

    def __init__(
        self,
        rules: BreakerConfig = BreakerConfig(),  # noqa: B008 - it is frozen
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._rules = rules
        self._clock = clock
        self._breakers: dict[str, CircuitBreaker] = {}

    def of(self, dependency: str) -> CircuitBreaker:
        """Return the breaker of *dependency*, the same for each caller."""
        if dependency not in self._breakers:
            self._breakers[dependency] = CircuitBreaker(
                dependency, self._rules, clock=self._clock, on_change=_log_change
            )
        return self._breakers[dependency]

    def status(self) -> dict[str, BreakerStatus]:
        """Return how each breaker is now, by dependency."""
        return {name: breaker.status() for name, breaker in self._breakers.items()}

    def report(self) -> dict[str, dict[str, Any]]:
        """Return the same as plain values, to be shown."""
        return {name: asdict(status) for name, status in self.status().items()}


def _log_change(change: Transition) -> None:
    logger.log(logging.WARNING if change.after == "open" else logging.INFO, "%s", change)
