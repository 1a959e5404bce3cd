"""Whether what is served is what its version of ``collaborative`` says, and why not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from artifacts.factors import Factors
from evaluation.intervals import bootstrap_intervals
from evaluation.metrics import FloatVector
from evaluation.recommendation import DECIMALS, Estimate
from evaluation.served import ServedList
from ranking.features import affinity, collaborative

LISTED = 20
SAME_CF = 1e-3
"""How far two computations of ``cf`` may lie apart: the API rounds, and float32 sums differ by place."""

_LEAST_COMMON = 3

Reasons = dict[str, float]


@dataclass(frozen=True)
class UserLists:
    """
    What one user is recommended.

    Args:
        user_id: In the factors.
        served: Over HTTP.
        offline: The first `LISTED` by the factors alone, without what the user knows.
        known: Products of the user's events.
    """

    user_id: str
    served: ServedList
    offline: list[str]
    known: frozenset[str]


@dataclass(frozen=True)
class Agreement:
    """
    Served lists beside those of the same version offline.

    Args:
        version: The active version.
        users: How many were asked for.
        figures: ``overlap_at_10`` and ``overlap_at_20``; ``overlap_by_cf_at_20``, the same once the served candidates
            are ordered by ``cf`` alone; ``rank_correlation``, Spearman's, of the products in both of the first 20.
        missing: Why products of the offline list are not among the first 20 served: shares of the offline lists.
        added: Why products are among the first 20 served that are not in the offline list: shares of the served lists.
        versions: How many answers name which version.
        vectors: How many answers rest on a vector of which source.
        degraded: What stood in for something else, in how many answers.
        cf_compared: How many ``cf`` were computed again.
        cf_furthest: The largest distance between a ``cf`` served and one computed again.
    """

    version: str
    users: int
    figures: dict[str, Estimate]
    missing: Reasons
    added: Reasons
    versions: dict[str, int]
    vectors: dict[str, int]
    degraded: dict[str, int]
    cf_compared: int
    cf_furthest: float

    def faults(self) -> list[str]:
        """What keeps the served path from being what the version says: a sentence each."""
        found = []
        if others := sum(count for version, count in self.versions.items() if version != self.version):
            named = ", ".join(sorted(set(self.versions) - {self.version}))
            found.append(f"{others} of {self.users} answers come from another version ({named}).")
        if self.cf_furthest > SAME_CF:
            found.append(f"cf lies up to {self.cf_furthest:.4f} from what the version's factors give.")
        if self.degraded:
            causes = ", ".join(f"{what}: {count}" for what, count in self.degraded.items())
            found.append(f"Something stood in for a part that failed: {causes}.")
        return found


def agreement(
    lists: Sequence[UserLists],
    factors: Factors,
    *,
    version: str,
    transform: Mapping[str, object],
    unavailable: Collection[str] = (),
) -> Agreement:
    """
    Compare.

    Args:
        lists: At least one.
        factors: Of *version*.
        version: The active one.
        transform: From a predicted preference to ``cf``, as the version's manifest has it.
        unavailable: Products that are hidden or out of stock.
    """
    away = frozenset(unavailable)
    missing, added = Counter[str](), Counter[str]()
    for each in lists:
        missing.update(_why_missing(each, away))
        added.update(_why_added(each))
    differences = [
        _cf_differences(each, factors, transform)
        for each in lists
        if each.served.version == version and each.served.vector == "factors"
    ]
    apart = np.concatenate(differences) if differences else np.zeros(0)
    served = sum(len(each.served.product_ids[:LISTED]) for each in lists)
    return Agreement(
        version=version,
        users=len(lists),
        figures=_figures(lists),
        missing=_shares(missing, sum(len(each.offline) for each in lists)),
        added=_shares(added, served),
        versions=dict(Counter(each.served.version or "none" for each in lists)),
        vectors=dict(Counter(each.served.vector or "none" for each in lists)),
        degraded=dict(Counter(what for each in lists for what in each.served.degraded)),
        cf_compared=len(apart),
        cf_furthest=round(float(apart.max(initial=0.0)), 6),
    )


def _figures(lists: Sequence[UserLists]) -> dict[str, Estimate]:
    columns = {
        "overlap_at_10": [_overlap(each.served.product_ids, each.offline, 10) for each in lists],
        "overlap_at_20": [_overlap(each.served.product_ids, each.offline, LISTED) for each in lists],
        "overlap_by_cf_at_20": [_overlap(_by_cf(each.served), each.offline, LISTED) for each in lists],
        "rank_correlation": [
            found for each in lists if (found := _correlation(each.served.product_ids, each.offline)) is not None
        ],
    }
    return {name: estimate(np.array(values, dtype=np.float64)) for name, values in columns.items()}


def estimate(values: FloatVector) -> Estimate:
    """Return the mean over users with its 95 % bootstrap interval."""
    low, high = bootstrap_intervals(values[:, None])
    mean = values.mean() if len(values) else 0.0
    return Estimate(*(round(float(each), DECIMALS) for each in (mean, low[0], high[0])))


def _overlap(served: Sequence[str], offline: Sequence[str], count: int) -> float:
    """The share of the first *count* offline that are among the first *count* served."""
    wanted = set(offline[:count])
    return len(wanted.intersection(served[:count])) / len(wanted) if wanted else 1.0


def _by_cf(served: ServedList) -> list[str]:
    """The served products ordered by ``cf``, without those that have none."""
    known = [(-cf, product) for product, cf in zip(served.product_ids, served.cf, strict=True) if cf is not None]
    return [product for _, product in sorted(known)]


def _correlation(served: Sequence[str], offline: Sequence[str]) -> float | None:
    """Spearman's rank correlation of what both have; None where that is too little."""
    places = {product: place for place, product in enumerate(served[:LISTED])}
    common = [places[product] for product in offline if product in places]
    if len(common) < _LEAST_COMMON:
        return None
    ranks = np.argsort(np.argsort(common))
    return float(np.corrcoef(ranks, np.arange(len(ranks)))[0, 1])


def _why_missing(each: UserLists, unavailable: frozenset[str]) -> list[str]:
    first, candidates = set(each.served.product_ids[:LISTED]), set(each.served.product_ids)
    return [
        "hidden or out of stock"
        if product in unavailable
        else "placed lower by the ranking weights"
        if product in candidates
        else "no candidate: another vector, or left out by a rule"
        for product in each.offline
        if product not in first
    ]


def _why_added(each: UserLists) -> list[str]:
    offline = set(each.offline)
    reasons = []
    for product, cf in list(zip(each.served.product_ids, each.served.cf, strict=True))[:LISTED]:
        if product in offline:
            continue
        if product in each.known:
            reasons.append("seen before but neither bought nor rated: shown again")
        elif cf is None:
            reasons.append("unknown to the factors: placed by popularity and freshness")
        else:
            reasons.append("placed higher by the ranking weights")
    return reasons


def _cf_differences(each: UserLists, factors: Factors, transform: Mapping[str, object]) -> NDArray[np.float64]:
    row = factors.user_row(each.user_id)
    pairs = [
        (item, cf)
        for product, cf in zip(each.served.product_ids, each.served.cf, strict=True)
        if cf is not None and (item := factors.item_row(product)) is not None
    ]
    if row is None or not pairs:
        return np.zeros(0)
    dots = affinity(factors.user_factors[row], factors.item_factors[[item for item, _ in pairs]])
    return np.asarray(np.abs(collaborative(dots, transform) - np.array([cf for _, cf in pairs])))


def _shares(counts: Counter[str], of: int) -> Reasons:
    return {reason: round(count / of, DECIMALS) for reason, count in counts.most_common()} if of else {}
