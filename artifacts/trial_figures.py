"""What a trial shows: how much two lists differ, and sums of that which replicas report and the command adds up."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, Field

TOP = 10
"""So many products are compared one by one."""
DEPTH = 100
"""So far down the order is compared."""
_STEP = math.log(1.1)
"""Latencies are counted in steps of a tenth."""


@dataclass(frozen=True)
class Comparison:
    """
    Two lists of products beside each other.

    Attributes:
        overlap: Which share of the longer top ten is in both, in [0, 1].
        correlation: Spearman's rank correlation of the products among the first hundred of both, in [-1, 1]; None
            where there are fewer than two.
        shift: The mean score of the new top ten less that of the old, in the score's unit; None where one is empty.
    """

    overlap: float
    correlation: float | None
    shift: float | None


def compared(
    old: Sequence[str], old_scores: Sequence[float], new: Sequence[str], new_scores: Sequence[float]
) -> Comparison:
    """Compare two lists, each best first, each product once, with the score of each product."""
    longer = max(len(old[:TOP]), len(new[:TOP]))
    both = len({*old[:TOP]} & {*new[:TOP]})
    shift = None
    if old and new:
        shift = math.fsum(new_scores[:TOP]) / len(new[:TOP]) - math.fsum(old_scores[:TOP]) / len(old[:TOP])
    return Comparison(both / longer if longer else 1.0, rank_correlation(old[:DEPTH], new[:DEPTH]), shift)


def rank_correlation(one: Sequence[str], other: Sequence[str]) -> float | None:
    """
    Return Spearman's correlation of the ranks of the products in both lists, ranked anew among themselves.

    None where fewer than two are in both: there is no order to compare.
    """
    common = {*one} & {*other}
    count = len(common)
    if count < 2:  # noqa: PLR2004  an order needs two
        return None
    rank = {product_id: place for place, product_id in enumerate(each for each in other if each in common)}
    squares = sum(
        (place - rank[product_id]) ** 2 for place, product_id in enumerate(each for each in one if each in common)
    )
    return 1 - 6 * squares / (count * (count**2 - 1))


class ArmFigures(BaseModel):
    """
    What one version answered.

    Attributes:
        requests: How many requests it was asked for.
        errors: How many of them it failed.
        latencies: How many took about ``1.1 ** step`` ms, by step.
    """

    requests: int = 0
    errors: int = 0
    latencies: Counter[int] = Field(default_factory=Counter)

    def add(self, ms: float | None, *, failed: bool) -> None:
        """Count a request; *ms* where it took a time of its own."""
        self.requests += 1
        self.errors += failed
        if ms is not None:
            self.latencies[round(math.log(max(ms, 0.001)) / _STEP)] += 1

    def quantile_ms(self, share: float) -> float | None:
        """The latency that *share* of the requests stayed within, to a twentieth; None without any."""
        wanted, seen = share * self.latencies.total(), 0
        for step in sorted(self.latencies):
            seen += self.latencies[step]
            if seen >= wanted:
                return round(math.exp(step * _STEP), 3)
        return None

    def report(self) -> dict[str, Any]:
        """As it is shown."""
        return {
            "requests": self.requests,
            "errors": self.errors,
            "p50_ms": self.quantile_ms(0.5),
            "p95_ms": self.quantile_ms(0.95),
        }


class TrialFigures(BaseModel):
    """
    Sums over requests.

    Attributes:
        active: The active version: of a shadow, on the requests that were compared; of a canary, for everyone else.
        trial: The version on trial.
        compared: How many requests were answered by both.
        overlap: Sum of the overlaps.
        correlation: Sum of the correlations of *correlated* requests.
        shift: Sum of the shifts of *shifted* requests.
        dropped: Sampled, and not compared because others were waiting for it.
    """

    active: ArmFigures = Field(default_factory=ArmFigures)
    trial: ArmFigures = Field(default_factory=ArmFigures)
    compared: int = 0
    overlap: float = 0.0
    correlated: int = 0
    correlation: float = 0.0
    shifted: int = 0
    shift: float = 0.0
    dropped: int = 0

    def add(self, comparison: Comparison) -> None:
        """Count a request that both answered."""
        self.compared += 1
        self.overlap += comparison.overlap
        if comparison.correlation is not None:
            self.correlated += 1
            self.correlation += comparison.correlation
        if comparison.shift is not None:
            self.shifted += 1
            self.shift += comparison.shift

    def report(self) -> dict[str, Any]:
        """As it is shown: means of what was summed up."""
        return {
            "active": self.active.report(),
            "trial": self.trial.report(),
            "compared": self.compared,
            "overlap_at_10": _mean(self.overlap, self.compared),
            "rank_correlation": _mean(self.correlation, self.correlated),
            "score_shift": _mean(self.shift, self.shifted),
            "dropped": self.dropped,
        }


def summed(reports: Iterable[TrialFigures]) -> TrialFigures:
    """Return the sum of what several replicas saw."""
    total = TrialFigures()
    for each in reports:
        for arm, other in ((total.active, each.active), (total.trial, each.trial)):
            arm.requests += other.requests
            arm.errors += other.errors
            arm.latencies += other.latencies
        for name in ("compared", "overlap", "correlated", "correlation", "shifted", "shift", "dropped"):
            setattr(total, name, getattr(total, name) + getattr(each, name))
    return total


def _mean(total: float, count: int) -> float | None:
    return round(total / count, 4) if count else None
