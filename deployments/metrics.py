"""What a replica counts, as Ray metrics: scraped by Prometheus from each node's metrics port."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, cast

from ray.serve import metrics

log = logging.getLogger(__name__)

PERIOD_S = 5.0
ALMOST_NOTHING = 1e-300


@dataclass(frozen=True, slots=True)
class Sample:
    """
    One number of now.

    Attributes:
        name: ``shortlist_...``; a total ends in ``_total``.
        description: What it counts, with its unit.
        value: The gauge's value, or the total since the process began.
        kind: Whether it is the one or the other.
        tags: What tells it from others of its name.
    """

    name: str
    description: str
    value: float
    kind: Literal["gauge", "total"] = "gauge"
    tags: Mapping[str, str] = field(default_factory=dict)


class MetricsExport:
    """
    Exports what *collect* returns, each five seconds.

    Ray adds the tags ``deployment``, ``replica`` and ``application``.

    Args:
        collect: Returns everything there is to export.
        told: Called with the same each time, once it is exported.
    """

    def __init__(
        self, collect: Callable[[], Iterable[Sample]], *, told: Callable[[Sequence[Sample]], None] = lambda _: None
    ) -> None:
        self._collect = collect
        self._told = told
        self._gauges: dict[str, metrics.Gauge] = {}
        self._counters: dict[str, metrics.Counter] = {}
        self._totals: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}
        self._exporting: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Export in the background."""
        self._exporting = asyncio.create_task(self._export_for_ever(), name="metrics-export")

    @property
    def alive(self) -> bool:
        """Whether the task that exports has not died; true before the start and after the end."""
        return self._exporting is None or not self._exporting.done()

    def export(self) -> None:
        """Export once."""
        samples = list(self._collect())
        for sample in samples:
            if sample.kind == "gauge":
                self._gauge(sample).set(sample.value, tags=dict(sample.tags))
            else:
                self._add(sample)
        self._told(samples)

    def _add(self, sample: Sample) -> None:
        key = (sample.name, tuple(sorted(sample.tags.items())))
        if key not in self._totals:
            # Prometheus sees growth only where there was something before; Ray refuses to add nothing at all.
            self._counter(sample).inc(ALMOST_NOTHING, tags=dict(sample.tags))
            self._totals[key] = 0.0
        more = sample.value - self._totals[key]
        if more > 0:
            self._counter(sample).inc(more, tags=dict(sample.tags))
            self._totals[key] = sample.value

    def _gauge(self, sample: Sample) -> metrics.Gauge:
        if sample.name not in self._gauges:
            self._gauges[sample.name] = metrics.Gauge(sample.name, sample.description, _keys(sample))
        return self._gauges[sample.name]

    def _counter(self, sample: Sample) -> metrics.Counter:
        if sample.name not in self._counters:
            # Ray's Prometheus exporter puts _total behind a counter's name itself.
            name = sample.name.removesuffix("_total")
            self._counters[sample.name] = metrics.Counter(name, sample.description, _keys(sample))
        return self._counters[sample.name]

    async def _export_for_ever(self) -> None:
        while True:
            try:
                self.export()
            except Exception:
                log.exception("metrics were not exported")
            await asyncio.sleep(PERIOD_S)


def _keys(sample: Sample) -> tuple[str]:
    # Ray's annotation means a tuple of any length.
    return cast("tuple[str]", tuple(sample.tags))
