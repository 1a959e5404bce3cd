"""One fault: what is done, and what a client may see of it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal

from bench.chaos.record import Pair
from bench.chaos.setup import AS_USUAL, Setup
from bench.chaos.subject import Subject

Inject = Callable[[Subject], AbstractContextManager[None]]
"""Does the fault on entering, undoes on leaving what does not heal by itself."""

Errors = Literal["none", "in flight", "until it is back"]
"""
Which reads may fail: none at all; those that the killed process was working on; any that begin before something answers
again, writes too.
"""

Writes = Literal["go on", "may fail"]
"""Whether events are acknowledged while the fault lasts; what is acknowledged is kept in any case."""


class CannotBeDone(Exception):
    """This machine does not let the fault be done: the message says why."""


@dataclass(frozen=True)
class Visible:
    """
    What a client may see of a fault; whatever else it sees breaks the contract.

    Attributes:
        says: Pairs of stage and cause of which at least one shows; empty where nobody need notice.
        may_say: Further pairs that may show.
        errors: Which reads may fail.
        writes: What becomes of writes.
        outage_s: Most seconds without any answer, where reads may fail until something is back.
        unnoticed_s: Seconds in which requests may still be sent to what is gone; they count as in flight.
    """

    says: frozenset[Pair] = frozenset()
    may_say: frozenset[Pair] = frozenset()
    errors: Errors = "none"
    writes: Writes = "go on"
    outage_s: float = 0.0
    unnoticed_s: float = 0.0

    @property
    def pairs(self) -> frozenset[Pair]:
        """Every pair that may show."""
        return self.says | self.may_say

    def beside(self, other: Visible) -> Visible:
        """What may be seen when two faults happen at once: of each what it shows alone."""
        order: tuple[Errors, ...] = ("none", "in flight", "until it is back")
        return Visible(
            says=self.says | other.says,
            may_say=self.may_say | other.may_say,
            errors=max(self.errors, other.errors, key=order.index),
            writes="may fail" if "may fail" in {self.writes, other.writes} else "go on",
            outage_s=max(self.outage_s, other.outage_s),
            unnoticed_s=max(self.unnoticed_s, other.unnoticed_s),
        )


@dataclass(frozen=True)
class Fault:
    """
    Something that goes wrong.

    Attributes:
        name: Short, for the command line and for anchors.
        does: What is done, in words.
        inject: Does it.
        visible: What a client may see of it.
        group: For choosing many.
        least_s: Least seconds that it lasts, where that is more than usual.
        hold_s: Most seconds that it lasts until an answer says so.
        heals_itself: Whether recovery needs nothing undone: it is counted from the fault on.
        setup: What has to be deployed first.
        ends: Parts that the supervisor has to start again; it does so five times in five minutes at most.
    """

    name: str
    does: str
    inject: Inject
    visible: Visible
    group: str
    least_s: float = 0.0
    hold_s: float = 8.0
    heals_itself: bool = False
    setup: Setup = AS_USUAL
    ends: frozenset[str] = frozenset()
