from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from training.data_profile import EventProfile, ProductProfile
from training.data_quality import Limits, Report, alarms_of, drift_since, reported
from training.drift import jensen_shannon, population_stability, robust_z
from training.identities import Hashes, IdentitySet, Repetitions, hashed, is_among, loaded, saved
from training.quality_text import as_text
from training.snapshot_files import EVENTS, PRODUCTS

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
Product = tuple[str, str, str | None, float | None]
"""id, title, category, price."""
Event = tuple[str, str, str, str, float]
"""id, user, product, type, days before `NOON`."""


def product_profile(scratch: Path, rows: Sequence[Product]) -> ProductProfile:
    profile = ProductProfile(scratch)
    ids, titles, categories, prices = map(list, zip(*rows, strict=True))
    columns: dict[str, list[object]] = {
        "id": ids,
        "title": titles,
        "category": categories,
        "price": [None if price is None else Decimal(str(price)) for price in prices],
    }
    empty = [None] * len(rows)
    profile.add(
        pa.record_batch([pa.array(columns.get(field.name, empty), field.type) for field in PRODUCTS], schema=PRODUCTS)
    )
    return profile


def event_profile(scratch: Path, products: ProductProfile, rows: Sequence[Event]) -> EventProfile:
    profile = EventProfile(scratch, products.ids.sorted(), NOON - timedelta(days=7))
    ids, users, of, types, days = map(list, zip(*rows, strict=True))
    columns: dict[str, list[object]] = {
        "id": ids,
        "user_id": users,
        "product_id": of,
        "type": types,
        "occurred_at": [NOON - timedelta(days=each) for each in days],
    }
    empty = [None] * len(rows)
    profile.add(
        pa.record_batch([pa.array(columns.get(field.name, empty), field.type) for field in EVENTS], schema=EVENTS)
    )
    return profile


def report(
    scratch: Path,
    products: Sequence[Product],
    events: Sequence[Event],
    limits: Limits | None = None,
    version: str = "v",
) -> tuple[Report, dict[str, Hashes]]:
    of_products = product_profile(scratch / version, products)
    of_events = event_profile(scratch / version, of_products, events)
    newest = NOON - timedelta(days=min(event[4] for event in events))
    taken_at = NOON + timedelta(days=1)
    made = reported(
        of_products, of_events, limits or Limits(), version=version, taken_at=taken_at, newest_event_at=newest
    )
    return made, {"products": of_products.ids.sorted(), "users": of_events.users.sorted()}


PRODUCTS_ROWS: list[Product] = [
    ("p1", "One", "a", 1.0),
    ("p2", "one ", "a", 2.0),
    ("p3", "Three", None, None),
    ("p4", "  ", "b", 0.0),
]
EVENTS_ROWS: list[Event] = [
    ("e1", "u1", "p1", "view", 0),
    ("e1", "u2", "p2", "view", 1),
    ("e2", "u2", "gone", "purchase", 20),
    ("e3", "u2", "gone", "view", 21),
]


class TestReported:
    def test_it_counts_what_is_missing_repeated_and_unknown(self, tmp_path: Path) -> None:
        made, _ = report(tmp_path, PRODUCTS_ROWS, EVENTS_ROWS)
        assert made.counts == {"products": 4, "events": 4, "users": 2}
        assert {name: made.missing[f"products.{name}"] for name in ("id", "title", "category", "price")} == {
            "id": 0,
            "title": 1,
            "category": 1,
            "price": 1,
        }
        assert made.missing["events.value"] == 4
        assert made.repeated == {"event_ids": 1, "titles": 1}
        assert made.unknown == {"events": 2, "products": 1}
        assert made.event_types == {"purchase": 1, "view": 3}
        assert made.distributions == {
            "category": {"(none)": 1, "a": 2, "b": 1},
            "price": {"(none)": 1, "0": 1, "from 1": 1, "from 1.78": 1},
            "recent_event_type": {"view": 2},
        }

    def test_a_price_far_from_those_of_its_category_is_named(self, tmp_path: Path) -> None:
        rows: list[Product] = [(f"p{n}", f"t{n}", "books", 10.0 + n % 9) for n in range(50)]
        rows += [(f"q{n}", f"u{n}", "cars", 9000.0 + 100 * (n % 9)) for n in range(50)]
        made, _ = report(tmp_path, [*rows, ("odd", "odd", "books", 9000.0)], EVENTS_ROWS)
        assert made.price_outliers == 1
        assert made.price_examples[0]["product_id"] == "odd"

    def test_a_day_with_far_more_events_is_a_spike(self, tmp_path: Path) -> None:
        rows = [(f"{day}-{n}", "u", "p1", "view", float(day)) for day in range(30) for n in range(40 + day % 5)]
        rows += [(f"more-{n}", "u", "p1", "view", 2.0) for n in range(900)]
        rows += [(f"old-{n}", "u", "p1", "view", 20.0) for n in range(900)]
        made, _ = report(tmp_path, PRODUCTS_ROWS, rows)
        assert [(spike.day.day, spike.is_recent) for spike in made.spikes] == [(9, False), (27, True)]
        assert [alarm.name for alarm in alarms_of(made, Limits(), None)].count("spike") == 1


class TestAlarms:
    def test_each_figure_has_its_limit(self, tmp_path: Path) -> None:
        made, _ = report(tmp_path, PRODUCTS_ROWS, EVENTS_ROWS)
        names = [alarm.name for alarm in alarms_of(made, Limits(), None)]
        assert names == ["missing.title", "repeated_events", "repeated_titles", "unknown_products"]
        loose = Limits(repeated_events=1, repeated_titles=1, unknown_products=1)
        assert [alarm.name for alarm in alarms_of(made, loose, None)] == ["missing.title"]

    def test_drift_is_measured_against_the_last_one(self, tmp_path: Path) -> None:
        then, before = report(tmp_path, PRODUCTS_ROWS, EVENTS_ROWS, version="then")
        rows: list[Product] = [("p1", "One", "z", 100.0), ("p9", "Nine", None, None)]
        now, identities = report(tmp_path, rows, [("e9", "u9", "p9", "purchase", 0)], version="now")
        drift = drift_since(then, now, before, identities)
        assert (drift.new, drift.gone) == ({"products": 1, "users": 1}, {"products": 3, "users": 2})
        assert drift.gone_share == {"products": 0.75, "users": 1.0}
        assert drift.missing_rise == {"products.category": 0.25, "products.price": 0.25}
        alarmed = {alarm.name for alarm in alarms_of(now.model_copy(update={"drift": drift}), Limits(), then)}
        assert alarmed == {
            "drift.category",
            "drift.price",
            "drift.recent_event_type",
            "gone.products",
            "gone.users",
            "missing_rise.products.category",
            "missing_rise.products.price",
        }

    def test_the_same_has_not_drifted(self, tmp_path: Path) -> None:
        then, before = report(tmp_path, PRODUCTS_ROWS, EVENTS_ROWS, version="then")
        now, identities = report(tmp_path, PRODUCTS_ROWS, EVENTS_ROWS, version="now")
        drift = drift_since(then, now, before, identities)
        assert {*drift.population_stability.values(), *drift.gone.values(), *drift.new.values()} == {0}

    def test_events_that_stopped_are_an_alarm_after_a_day(self, tmp_path: Path) -> None:
        then, _ = report(tmp_path, PRODUCTS_ROWS, EVENTS_ROWS)
        for hours, expected in ((20, False), (30, True)):
            now = then.model_copy(update={"taken_at": then.taken_at + timedelta(hours=hours)})
            assert ("no_new_events" in {alarm.name for alarm in alarms_of(now, Limits(), then)}) == expected


class TestAsText:
    def test_alarms_come_first_and_every_figure_is_named(self, tmp_path: Path) -> None:
        made, sets = report(tmp_path, PRODUCTS_ROWS, EVENTS_ROWS)
        made = made.model_copy(
            update={"alarms": list(alarms_of(made, Limits(), None)), "drift": drift_since(made, made, sets, sets)}
        )
        lines = as_text(made).splitlines()
        assert lines[2] == "4 ALARMS"
        assert "  unknown_products  2 events are of products that are not there  limit 0.05" in lines
        assert any("Jensen-Shannon 0.0000 bits" in line for line in lines)


class TestDrift:
    def test_equal_shares_have_none(self) -> None:
        one, twice = {"a": 1, "b": 3}, {"a": 2, "b": 6}
        assert (population_stability(one, twice), jensen_shannon(one, twice)) == (0.0, 0.0)

    def test_the_index_is_the_sum_over_both_ways(self) -> None:
        """(0.2 - 0.5) ln(0.2 / 0.5) + (0.8 - 0.5) ln(0.8 / 0.5)."""
        assert population_stability({"a": 5, "b": 5}, {"a": 2, "b": 8}) == pytest.approx(0.41589, abs=1e-5)

    def test_nothing_in_common_is_one_bit(self) -> None:
        assert jensen_shannon({"a": 7}, {"b": 2}) == pytest.approx(1.0)
        assert np.isfinite(population_stability({"a": 7}, {"b": 2}))


class TestRobustZ:
    def test_an_outlier_does_not_hide_itself(self) -> None:
        scores = robust_z([10, 11, 9, 10, 12, 8, 10, 500])
        assert np.abs(scores[:-1]).max() < 2
        assert scores[-1] > 100

    def test_where_most_are_equal_the_others_still_stand_out(self) -> None:
        scores = robust_z([5] * 40 + [9])
        assert scores[:-1].tolist() == [0.0] * 40
        assert scores[-1] > 6

    def test_where_all_are_equal_none_does(self) -> None:
        assert robust_z([3, 3, 3]).tolist() == [0.0, 0.0, 0.0]


class TestRepetitions:
    def test_they_are_counted_across_batches(self, tmp_path: Path) -> None:
        repetitions = Repetitions(tmp_path / "counted")
        for ids in (["a", "b", "a"], ["b", "c", "b"]):
            repetitions.add(hashed(pa.array(ids)))
        assert repetitions.count() == 3


class TestIdentitySet:
    def test_each_is_in_it_once_and_survives_a_file(self) -> None:
        ids = IdentitySet()
        for each in (["b", "a"], ["a", "c"], []):
            ids.add(hashed(pa.array(each, pa.string())))
        (again,) = loaded(saved(ids=ids.sorted())).values()
        assert again.tolist() == sorted(hashed(pa.array(["a", "b", "c"])).tolist())
        assert is_among(hashed(pa.array(["c", "d"])), again).tolist() == [True, False]
        assert is_among(again, np.zeros(0, np.uint64)).tolist() == [False] * 3
