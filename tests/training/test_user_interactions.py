"""The query that serving weighs one user's events by agrees with the one that training weighs all users' by."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import pytest

from artifacts.event_weights import query_arguments
from storage.named_queries import QUERIES as SERVING
from tests.training.conftest import AddEvents, Fetch
from training.queries import QUERIES as TRAINING

TYPES = ["view", "click", "add_to_cart", "purchase", "rating"]
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
OWNED, NOT_OWNED = True, False


@pytest.fixture
def history(fetch: Fetch, products: list[str]) -> None:
    """A few hundred events of three users, some at the same moment, some on a product that is gone."""
    choose = random.Random(11)  # noqa: S311 - the same history each time
    rows = [
        (
            f"e{number}",
            choose.choice(["a", "b", "c"]),
            choose.choice([*products, "gone"]),
            kind := choose.choice(TYPES),
            choose.choice([None, 0.0, 1.0, 3.5, 5.0, 70.0]) if kind == "rating" else None,
            NOON - timedelta(hours=choose.randrange(200)),
        )
        for number in range(400)
    ]
    columns = [list(column) for column in zip(*rows, strict=True)]
    fetch(SERVING["insert_events"], *columns, [None] * len(rows))


def trained(fetch: Fetch, user: str) -> dict[object, float]:
    rows = fetch(TRAINING["interactions"], *query_arguments())
    return {row[1]: float(str(row[2])) for row in rows if row[0] == user}


def served(fetch: Fetch, user: str, *, limit: int = 500, known: int | None = None) -> dict[object, object]:
    rows = fetch(SERVING["user_interactions"], user, *query_arguments(), limit, known, NOT_OWNED)
    return {row[0]: row[1] for row in rows if row[1] is not None}


@pytest.mark.usefixtures("history")
class TestUserInteractions:
    @pytest.mark.parametrize("user", ["a", "b", "c", "nobody"])
    def test_a_user_is_weighed_as_in_training(self, fetch: Fetch, user: str) -> None:
        assert served(fetch, user) == trained(fetch, user)

    def test_confidences_are_left_out_where_no_event_is_new(self, fetch: Fetch) -> None:
        counts = {str(user): int(str(count)) for user, count in fetch(TRAINING["user_event_counts"])}
        assert served(fetch, "a", known=counts["a"]) == {}
        assert served(fetch, "a", known=counts["a"] - 1) == trained(fetch, "a")

    def test_the_latest_events_are_looked_at(self, fetch: Fetch, add_events: AddEvents) -> None:
        add_events([("d", "p1", "view", None, 1), ("d", "p2", "view", None, 2), ("d", "p3", "view", None, 3)])
        fetch("insert into users (id, event_count) values ('d', 3)")
        assert served(fetch, "d", limit=2) == {"p1": 1.0, "p2": 1.0}

    def test_what_was_bought_or_rated_is_owned_however_long_ago(self, fetch: Fetch, add_events: AddEvents) -> None:
        add_events(
            [
                ("d", "p1", "view", None, 1),
                ("d", "p2", "purchase", None, 2),
                ("d", "p3", "rating", 1, 3),
                ("d", "gone", "purchase", None, 4),
            ]
        )
        fetch("insert into users (id, event_count) values ('d', 4)")
        rows = fetch(SERVING["user_interactions"], "d", *query_arguments(), 1, None, OWNED)
        assert sorted(rows, key=str) == [
            ("gone", None, True, 4),
            ("p1", 1.0, False, 4),
            ("p2", None, True, 4),
            ("p3", None, True, 4),
        ]

    def test_a_user_nobody_has_seen_has_one_row_that_says_so(self, fetch: Fetch) -> None:
        assert fetch(SERVING["user_interactions"], "nobody", *query_arguments(), 500, None, OWNED) == [
            (None, None, False, None)
        ]
