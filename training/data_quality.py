"""The report on a snapshot: what was counted, what changed since the last one, what is beyond its limits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date, timedelta

import numpy as np
from pydantic import AwareDatetime, BaseModel, ConfigDict

from training.data_profile import EventProfile, ProductProfile
from training.drift import jensen_shannon, population_stability
from training.identities import Hashes

_REQUIRED = ("title",)


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Limits(_Record):
    """
    What is beyond these is an alarm.

    Attributes:
        spike_z: The robust z-score of a day's events.
        spike_days: Spikes count in so many days before the newest event; older ones are reported only.
        price_z: The robust z-score beyond which a price is an outlier.
        price_outliers: Share of products.
        drift: Population stability index.
        missing_rise: By how much the share of missing values of a column may rise.
        repeated_events: Share of events.
        repeated_titles: Share of products.
        unknown_products: Share of events.
        gone: Share of the products, or users, of the last snapshot.
    """

    spike_z: float = 6.0
    spike_days: int = 7
    price_z: float = 6.0
    price_outliers: float = 0.02
    drift: float = 0.25
    missing_rise: float = 0.05
    repeated_events: float = 0.0
    repeated_titles: float = 0.2
    unknown_products: float = 0.05
    gone: float = 0.2


class Spike(_Record):
    """A day with unusually many or few events."""

    day: date
    events: int
    z: float
    is_recent: bool


class Drift(_Record):
    """
    What changed since another snapshot.

    Attributes:
        since: That snapshot.
        population_stability: By distribution.
        jensen_shannon: By distribution, in bits.
        new: How many products and users are here and not there.
        gone: How many are there and not here.
        gone_share: The same as a share of those there.
        missing_rise: By column, where the share of missing values rose.
    """

    since: str
    population_stability: dict[str, float]
    jensen_shannon: dict[str, float]
    new: dict[str, int]
    gone: dict[str, int]
    gone_share: dict[str, float]
    missing_rise: dict[str, float]


class Alarm(_Record):
    """A figure beyond its limit."""

    name: str
    value: float
    limit: float
    text: str


class Report(_Record):
    """
    The data quality of one snapshot.

    Attributes:
        missing: Rows without a value, by ``table.column``; blank text is no value.
        repeated: Rows beyond the first of each event id, and of each title.
        unknown: Events of products that are not there, and how many different products those are.
        distributions: Counts by name: of categories, prices, and the types of recent events.
        alarms: In the order of `Limits`; empty where all is well.
    """

    version: str
    taken_at: AwareDatetime
    counts: dict[str, int]
    event_types: dict[str, int]
    missing: dict[str, int]
    repeated: dict[str, int]
    unknown: dict[str, int]
    newest_event_at: AwareDatetime | None
    spikes: list[Spike]
    price_outliers: int
    price_examples: list[dict[str, object]]
    distributions: dict[str, dict[str, int]]
    drift: Drift | None = None
    alarms: list[Alarm] = []

    def rows_of(self, column: str) -> int:
        """The rows of the table that ``table.column`` is in."""
        return self.counts[column.partition(".")[0]]


def reported(
    products: ProductProfile,
    events: EventProfile,
    limits: Limits,
    *,
    version: str,
    taken_at: AwareDatetime,
    newest_event_at: AwareDatetime | None,
) -> Report:
    """The report without drift and alarms."""
    outliers, examples = products.price_outliers(limits.price_z)
    missing = {f"products.{name}": count for name, count in products.missing.items()}
    missing |= {f"events.{name}": count for name, count in events.missing.items()}
    return Report(
        version=version,
        taken_at=taken_at,
        counts={"products": products.rows, "events": events.rows, "users": len(events.users.sorted())},
        event_types=dict(sorted(events.types.items())),
        missing=missing,
        repeated={"event_ids": events.repeated_ids(), "titles": products.repeated_titles()},
        unknown={"events": events.unknown, "products": len(events.unknown_products.sorted())},
        newest_event_at=newest_event_at,
        spikes=_spikes(events, newest_event_at, taken_at, limits),
        price_outliers=outliers,
        price_examples=examples,
        distributions={
            "category": dict(sorted(products.categories.items())),
            "price": dict(sorted(products.price_bins.items())),
            "recent_event_type": dict(sorted(events.recent_types.items())),
        },
    )


def drift_since(last: Report, now: Report, before: Mapping[str, Hashes], identities: Mapping[str, Hashes]) -> Drift:
    """
    Return what changed from *last* to *now*.

    Args:
        before: The hashed ids of products and users of *last*, by these names; what is absent is not compared.
        identities: Those of *now*.
    """
    pairs = {
        name: (last.distributions[name], counts)
        for name, counts in now.distributions.items()
        if last.distributions.get(name) and counts
    }
    common = {name: _common(before[name], identities[name]) for name in identities if name in before}
    gone = {name: len(before[name]) - count for name, count in common.items()}
    rises = {
        name: round(count / max(now.rows_of(name), 1) - last.missing[name] / max(last.rows_of(name), 1), 4)
        for name, count in now.missing.items()
        if name in last.missing and last.rows_of(name)
    }
    return Drift(
        since=last.version,
        population_stability={name: round(population_stability(*pair), 4) for name, pair in pairs.items()},
        jensen_shannon={name: round(jensen_shannon(*pair), 4) for name, pair in pairs.items()},
        new={name: len(identities[name]) - count for name, count in common.items()},
        gone=gone,
        gone_share={name: round(count / max(len(before[name]), 1), 4) for name, count in gone.items()},
        missing_rise={name: rise for name, rise in rises.items() if rise > 0},
    )


def alarms_of(report: Report, limits: Limits, last: Report | None) -> Iterator[Alarm]:
    """Yield what of *report* is beyond *limits*."""
    products, events = max(report.counts["products"], 1), max(report.counts["events"], 1)
    for column in _REQUIRED:
        if count := report.missing[f"products.{column}"]:
            yield Alarm(name=f"missing.{column}", value=count, limit=0, text=f"{count:,} products have no {column}")
    shares = (
        ("repeated_events", report.repeated["event_ids"], events, "events bear the id of another"),
        ("repeated_titles", report.repeated["titles"], products, "products bear the title of another"),
        ("unknown_products", report.unknown["events"], events, "events are of products that are not there"),
        ("price_outliers", report.price_outliers, products, "prices are far from those of their category"),
    )
    for name, count, rows, text in shares:
        yield from _beyond(name, count / rows, getattr(limits, name), f"{count:,} {text}")
    for spike in report.spikes:
        if spike.is_recent:
            text = f"{spike.events:,} events on {spike.day}, z-score {spike.z:+.1f}"
            yield Alarm(name="spike", value=spike.z, limit=limits.spike_z, text=text)
    if last is not None and report.newest_event_at == last.newest_event_at is not None:
        days = (report.taken_at - last.taken_at).total_seconds() / 86400
        yield from _beyond("no_new_events", days, 1.0, f"no new event in the {days:.1f} days since {last.version}")
    if report.drift is not None:
        yield from _drift_alarms(report.drift, limits)


def _drift_alarms(drift: Drift, limits: Limits) -> Iterator[Alarm]:
    for name, index in drift.population_stability.items():
        text = f"{name} differs from {drift.since}: population stability index {index:.3f}"
        yield from _beyond(f"drift.{name}", index, limits.drift, text)
    for name, share in drift.gone_share.items():
        yield from _beyond(f"gone.{name}", share, limits.gone, f"{drift.gone[name]:,} {name} of {drift.since} are gone")
    for name, rise in drift.missing_rise.items():
        text = f"{name} is missing in {rise:.1%} more of the rows than in {drift.since}"
        yield from _beyond(f"missing_rise.{name}", rise, limits.missing_rise, text)


def _beyond(name: str, value: float, limit: float, text: str) -> Iterator[Alarm]:
    if value > limit:
        yield Alarm(name=name, value=round(value, 4), limit=limit, text=text)


def _spikes(events: EventProfile, newest: AwareDatetime | None, taken_at: AwareDatetime, limits: Limits) -> list[Spike]:
    if newest is None:
        return []
    days = events.scored_days(newest, taken_at)
    return [
        Spike(day=day, events=count, z=round(score, 1), is_recent=day > days[-1][0] - timedelta(days=limits.spike_days))
        for day, count, score in days
        if abs(score) > limits.spike_z
    ]


def _common(one: Hashes, other: Hashes) -> int:
    """How many ids both have; each is ascending and without repetitions."""
    return len(np.intersect1d(one, other, assume_unique=True))
