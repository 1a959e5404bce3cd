"""The states of a process's circuit breakers, as samples."""

from __future__ import annotations

from collections.abc import Iterator

from deployments.metrics import Sample
from storage.breakers import Breakers
from storage.circuit_breaker import BreakerState

NUMBERS: dict[BreakerState, int] = {"closed": 0, "half_open": 1, "open": 2}


def breaker_samples(breakers: Breakers) -> Iterator[Sample]:
    """Yield the state of each breaker, how often it went into each, and how many calls it refused."""
    for dependency, status in breakers.status().items():
        tags = {"dependency": dependency}
        yield Sample(
            "shortlist_breaker_state", "State: 0 closed, 1 half open, 2 open.", NUMBERS[status.state], tags=tags
        )
        for state, total in (
            ("closed", status.closed_total),
            ("half_open", status.half_opened_total),
            ("open", status.opened_total),
        ):
            yield Sample(
                "shortlist_breaker_transitions_total", "Changes of state.", total, "total", {**tags, "to": state}
            )
        yield Sample("shortlist_breaker_rejected_total", "Calls refused.", status.rejected_total, "total", tags)
