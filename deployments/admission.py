"""What a gateway replica takes on at once: reads, writes and bytes of bodies, each with a bound of its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator

from deployments.adaptive_limit import AdaptiveLimit, LimitRules
from deployments.burst_queue import BurstQueue
from deployments.metrics import Sample
from deployments.processor import Processor

Lane = Literal["reads", "writes", "pages"]
Reason = Literal["reads", "writes", "pages", "bodies", "body_bytes"]

# Large bodies leave this share of the bytes to small ones, so that a few imports do not hold up every event.
LARGE_BODY = 256 * 1024
SHARE_OF_LARGE = 0.75


class AdmissionConfig(BaseModel):
    """
    What a gateway replica takes on at once; beyond it the answer is 429, at once.

    Attributes:
        read_target_ms: 95th percentile of the reads' times above which fewer are taken at once. Where reads take long
            without load too, it is three times what they take then, though not above half a second.
        least_reads: Reads at once that are always taken.
        first_reads: Reads at once before anything was measured, and when nothing presses.
        most_reads: Most reads at once, however quick they are.
        most_waiting_reads: Most reads of a burst that wait for room.
        longest_wait_ms: The longest that one of them waits; it is part of the time that the request has.
        most_writes: Most writes at once.
        most_pages: Most files of the playground and of the API's documentation at once.
        most_bodies: Most request bodies being received at once.
        max_body_bytes: Largest request body.
        body_bytes: Most bytes of bodies at once, from their announcement until the answer.
        body_timeout_s: Seconds for a body to arrive.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    read_target_ms: Annotated[float, Field(gt=0)] = 75.0
    least_reads: Annotated[int, Field(ge=1)] = 2
    first_reads: Annotated[int, Field(ge=1)] = 4
    most_reads: Annotated[int, Field(ge=1)] = 100
    most_waiting_reads: Annotated[int, Field(ge=0)] = 32
    longest_wait_ms: Annotated[float, Field(ge=0, le=1000)] = 250.0
    most_writes: Annotated[int, Field(ge=1)] = 32
    most_pages: Annotated[int, Field(ge=1)] = 32
    most_bodies: Annotated[int, Field(ge=1)] = 64
    max_body_bytes: Annotated[int, Field(ge=1024)] = 10 * 1024 * 1024
    body_bytes: Annotated[int, Field(ge=1024)] = 32 * 1024 * 1024
    body_timeout_s: Annotated[float, Field(gt=0, le=600)] = 30.0

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if not self.least_reads <= self.first_reads <= self.most_reads:
            raise ValueError("least_reads, first_reads and most_reads must not fall")
        if self.max_body_bytes > self.body_bytes * SHARE_OF_LARGE:
            raise ValueError("body_bytes must be at least a third more than max_body_bytes")
        return self


class Overloaded(Exception):
    """
    The replica has as much to do as it may have. Retry after a second or two, on any replica.

    Attributes:
        reason: Which bound was reached.
    """

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason)
        self.reason = reason


class Admission:
    """
    The bounds of one replica, and what reached them.

    Args:
        config: The bounds.
    """

    def __init__(self, config: AdmissionConfig) -> None:
        self.config = config
        rules = LimitRules(
            floor=config.least_reads,
            first=config.first_reads,
            ceiling=config.most_reads,
            target_s=config.read_target_ms / 1000,
        )
        self.reads = BurstQueue(
            AdaptiveLimit(rules, busy=Processor().busy),
            most=config.most_waiting_reads,
            longest_s=config.longest_wait_ms / 1000,
        )
        self._most = {"writes": config.most_writes, "pages": config.most_pages}
        self.at_work: Counter[Lane] = Counter()
        self.bodies = 0
        self.body_bytes = 0
        self.shed: Counter[Reason] = Counter()

    def refuse(self, reason: Reason) -> Overloaded:
        """Count a request as refused because of *reason*; return what to raise."""
        self.shed[reason] += 1
        return Overloaded(reason)

    def check(self, lane: Lane) -> None:
        """
        Return if a request could be begun now.

        Raises:
            Overloaded: it could not.
        """
        if self.reads.refuses() if lane == "reads" else self.at_work[lane] >= self._most[lane]:
            raise self.refuse(lane)

    @contextmanager
    def work(self, lane: Literal["writes", "pages"]) -> Iterator[None]:
        """
        Count what is done within as at work.

        Raises:
            Overloaded: on entering: there is as much as may be.
        """
        self.check(lane)
        self.at_work[lane] += 1
        try:
            yield
        finally:
            self.at_work[lane] -= 1

    def status(self) -> dict[str, object]:
        """Return the bounds, what is in flight and what was refused."""
        limit = self.reads.limit
        return {
            "reads": {
                "in_flight": limit.in_flight,
                "limit": limit.limit,
                "target_ms": round(limit.target_s * 1000, 1),
                "waiting": len(self.reads),
            },
            "writes": {"in_flight": self.at_work["writes"], "limit": self.config.most_writes},
            "pages": {"in_flight": self.at_work["pages"], "limit": self.config.most_pages},
            "bodies": {"in_flight": self.bodies, "limit": self.config.most_bodies},
            "body_bytes": {"in_flight": self.body_bytes, "limit": self.config.body_bytes},
            "shed": dict(self.shed),
        }

    def samples(self) -> Iterator[Sample]:
        """Yield the same as figures for Prometheus."""
        for reason in get_args(Reason):
            in_flight, limit = self._figures(reason)
            tags = {"of": reason}
            yield Sample("shortlist_in_flight", "Requests, bodies or bytes in flight.", in_flight, tags=tags)
            yield Sample("shortlist_in_flight_limit", "How many may be in flight.", limit, tags=tags)
            shed = self.shed[reason]
            yield Sample("shortlist_shed_total", "Requests answered 429.", shed, "total", {"reason": reason})

    def _figures(self, reason: Reason) -> tuple[int, int]:
        config = self.config
        return {
            "reads": (self.reads.limit.in_flight, self.reads.limit.limit),
            "writes": (self.at_work["writes"], config.most_writes),
            "pages": (self.at_work["pages"], config.most_pages),
            "bodies": (self.bodies, config.most_bodies),
            "body_bytes": (self.body_bytes, config.body_bytes),
        }[reason]


class BodyRoom:
    """
    Room for one body, from its announcement until the answer. A context manager.

    Args:
        admission: Whose room.
        announced: The body's length in bytes, where the client said it; else 0.

    Raises:
        Overloaded: on entering, or when taking more: there is none left.
    """

    def __init__(self, admission: Admission, announced: int) -> None:
        self._admission = admission
        self._announced = announced
        self._held = 0

    def __enter__(self) -> Self:
        self._take(self._announced)
        return self

    def __exit__(self, *_: object) -> None:
        self._admission.body_bytes -= self._held

    def received(self, size: int) -> None:
        """Take what was received beyond what was announced: *size* bytes in all."""
        if size > self._held:
            self._take(size - self._held)

    def _take(self, more: int) -> None:
        admission = self._admission
        share = SHARE_OF_LARGE if self._held + more > LARGE_BODY else 1.0
        if admission.body_bytes + more > admission.config.body_bytes * share:
            raise admission.refuse("body_bytes")
        admission.body_bytes += more
        self._held += more
