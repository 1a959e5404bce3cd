"""What the gateway answered: counted as it goes, exported every few seconds."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import product

from contracts.stages import Stage
from deployments.metrics import Sample

BOUNDS_S = (0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0, 2.0, 5.0)
ENDPOINTS = ("search", "recommendations", "products", "events", "users", "health")
OTHER = "other"
COMPARED = (200, 429, 500, 503, 504)
"""Statuses that alerts compare. Prometheus sees a series grow only from its second value on, so each begins at 0."""


class RequestFigures:
    """Counts answers by endpoint and status with the time they took, and stages by what became of them."""

    def __init__(self) -> None:
        self._answers: Counter[tuple[str, int]] = Counter(dict.fromkeys(product(ENDPOINTS, COMPARED), 0))
        self._degraded: Counter[str] = Counter({"search": 0, "recommendations": 0})
        self._stages: Counter[tuple[str, str, str]] = Counter()
        self._slots: dict[str, list[int]] = {}
        self._seconds: dict[str, float] = {}

    def answered(self, path: str, status: int, seconds: float) -> None:
        """Take note of an HTTP answer; *seconds* is the whole time from its request to its end."""
        endpoint = endpoint_of(path)
        self._answers[endpoint, status] += 1
        slots = self._slots.setdefault(endpoint, [0] * (len(BOUNDS_S) + 1))
        slots[bisect_left(BOUNDS_S, seconds)] += 1
        self._seconds[endpoint] = self._seconds.get(endpoint, 0.0) + seconds

    def made(self, endpoint: str, stages: Iterable[Stage]) -> None:
        """Take note of how an answer to a read was made."""
        degraded = False
        for stage in stages:
            self._stages[stage.name, stage.status, stage.cause or "none"] += 1
            degraded = degraded or stage.degraded
        if degraded:
            self._degraded[endpoint] += 1

    def samples(self) -> Iterator[Sample]:
        """Yield the figures that are exported."""
        for (endpoint, status), count in self._answers.items():
            tags = {"endpoint": endpoint, "status": str(status)}
            yield Sample("shortlist_answers_total", "Answers by HTTP status.", count, "total", tags)
        for endpoint, count in self._degraded.items():
            tags = {"endpoint": endpoint}
            yield Sample("shortlist_degraded_total", "Answers that say they are degraded.", count, "total", tags)
        for (stage, outcome, cause), count in self._stages.items():
            tags = {"stage": stage, "status": outcome, "cause": cause}
            yield Sample("shortlist_stage_total", "Stages of answers by what became of them.", count, "total", tags)
        for endpoint, slots in self._slots.items():
            yield from self._histogram(endpoint, slots)

    def _histogram(self, endpoint: str, slots: list[int]) -> Iterator[Sample]:
        """The times as Prometheus writes a histogram; Ray's own would have to be told of each answer by itself."""
        below = 0
        for bound, count in zip((*map(str, BOUNDS_S), "+Inf"), slots, strict=True):
            below += count
            tags = {"endpoint": endpoint, "le": bound}
            yield Sample("shortlist_request_seconds_bucket", "Answers that took at most le seconds.", below, tags=tags)
        tags = {"endpoint": endpoint}
        yield Sample("shortlist_request_seconds_count", "Answers that were timed.", below, tags=tags)
        yield Sample("shortlist_request_seconds_sum", "Seconds that they took.", self._seconds[endpoint], tags=tags)


def endpoint_of(path: str) -> str:
    """Return the endpoint that *path* leads to, one of a few."""
    parts = path.split("/", 3)
    if len(parts) > 1 and parts[1] == "health":
        return "health"
    if len(parts) > 2 and parts[1] == "v1" and parts[2] in ENDPOINTS:  # noqa: PLR2004 - the name after /v1/
        return parts[2]
    return OTHER
