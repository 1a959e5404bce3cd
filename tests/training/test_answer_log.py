from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from evaluation.logged_answers import LoggedAnswers
from ranking.config import RankingConfig
from storage.settings import StorageSettings
from tests.evaluation.made_up_answers import as_table, clicked_answers
from tests.training.answer_rows import log_answers
from tests.training.conftest import NOON, Fetch
from training.answer_log import EVENTS, answers_of, followed_up, read_answers
from training.errors import NothingToTrainOn, WrongInput

FEATURES = {"search": 0.5, "cf": None, "popularity": 0.25, "freshness": 1.0}


def rows(database_url: str, *, days: int = 90, hours: int = 24) -> list[tuple[str, str, bool]]:
    """Request, product and whether it was clicked, as read."""
    table = asyncio.run(followed_up(StorageSettings(database_url), EVENTS, days=days, hours=hours))
    return list(zip(*(table[name].to_pylist() for name in ("request_id", "product_id", "clicked")), strict=True))


def show(fetch: Fetch, request: str = "r", *, minutes: float = 0, user: str | None = "u", features: int = 2) -> None:
    """An answer with p1 and p2, so many minutes before `NOON`."""
    fetch(
        "insert into impressions (request_id, shown_at, kind, user_id, product_ids, ranks, scores, features) values "
        "($1, $2, 'search', $3, array['p1', 'p2'], array[1, 2], array[0.5, 0.5], $4::text::jsonb)",
        request,
        NOON - timedelta(minutes=minutes),
        user,
        json.dumps([FEATURES] * features),
    )


def act(
    fetch: Fetch,
    product: str = "p1",
    *,
    minutes: float = -1,
    user: str = "u",
    kind: str = "click",
    request: str | None = "r",
    number: int = 0,
) -> None:
    """An event, so many minutes before `NOON`."""
    fetch(
        "insert into events (id, user_id, product_id, type, occurred_at, request_id) values ($1, $2, $3, $4, $5, $6)",
        f"e{number}",
        user,
        product,
        kind,
        NOON - timedelta(minutes=minutes),
        request,
    )


class TestFollowedUp:
    def test_of_more_than_wanted_a_sample_is_read_the_same_each_time(
        self, database_url: str, fetch: Fetch, products: list[str]
    ) -> None:
        assert products
        for number in range(9):
            show(fetch, f"r{number}", minutes=number)
            act(fetch, minutes=number - 1, request=f"r{number}", number=number)
        settings = StorageSettings(database_url)
        samples = [asyncio.run(followed_up(settings, EVENTS, days=90, hours=24, most=4)) for _ in range(2)]
        assert samples[0].equals(samples[1])
        assert len(set(samples[0]["request_id"].to_pylist())) == 4
        assert samples[0].num_rows == 8
        assert len(rows(database_url)) == 18

    def test_an_answer_comes_with_all_it_showed_and_what_was_clicked(
        self, database_url: str, fetch: Fetch, products: list[str]
    ) -> None:
        assert products
        fetch("update products set category = 'wine' where id = 'p2'")
        show(fetch)
        act(fetch, "p2")
        table = asyncio.run(followed_up(StorageSettings(database_url), EVENTS, days=90, hours=24))
        expected = {
            "request_id": ["r", "r"],
            "shown_at": [NOON.timestamp()] * 2,
            "kind": ["search", "search"],
            "user_id": ["u", "u"],
            "product_id": ["p1", "p2"],
            "rank": [1, 2],
            "category": [None, "wine"],
            "search": [0.5, 0.5],
            "cf": [None, None],
            "popularity": [0.25, 0.25],
            "freshness": [1.0, 1.0],
            "clicked": [False, True],
        }
        assert table.to_pydict() == expected

    @pytest.mark.parametrize("kind", ["click", "add_to_cart", "purchase"])
    def test_these_follow_an_answer(self, database_url: str, fetch: Fetch, kind: str) -> None:
        show(fetch)
        act(fetch, kind=kind)
        assert rows(database_url) == [("r", "p1", True), ("r", "p2", False)]

    @pytest.mark.parametrize(
        "event",
        [
            {"kind": "view"},
            {"user": "another"},
            {"product": "p3"},
            {"request": None},
            {"request": "another"},
            {"minutes": 5.0},
            {"minutes": -25 * 60.0},
        ],
        ids=["view", "another user", "not shown", "no request", "another request", "before it", "a day later"],
    )
    def test_these_do_not(self, database_url: str, fetch: Fetch, event: dict[str, object]) -> None:
        show(fetch)
        act(fetch, **event)  # type: ignore[arg-type]  # each is one of its parameters
        assert rows(database_url) == []

    def test_anybody_may_follow_an_answer_for_nobody(self, database_url: str, fetch: Fetch) -> None:
        show(fetch, user=None)
        act(fetch, user="anybody")
        assert rows(database_url) == [("r", "p1", True), ("r", "p2", False)]

    def test_of_answers_with_one_request_id_the_last_before_counts(self, database_url: str, fetch: Fetch) -> None:
        show(fetch, minutes=10)
        show(fetch, minutes=5)
        show(fetch, minutes=-5)
        act(fetch, minutes=0)
        table = asyncio.run(followed_up(StorageSettings(database_url), EVENTS, days=90, hours=24))
        assert set(table["shown_at"].to_pylist()) == {NOON.timestamp() - 300}

    def test_several_events_on_a_product_are_one_click(self, database_url: str, fetch: Fetch) -> None:
        show(fetch)
        act(fetch)
        act(fetch, kind="purchase", number=1)
        assert rows(database_url) == [("r", "p1", True), ("r", "p2", False)]

    def test_an_answer_whose_features_are_not_all_known_is_left_out(self, database_url: str, fetch: Fetch) -> None:
        """Those that popularity ranked while ranking was down, and those of versions that kept none."""
        show(fetch, features=0)
        fetch('update impressions set features = \'[{"popularity": 1}, {"popularity": 1}]\'')
        show(fetch, "old", features=0)
        act(fetch)
        act(fetch, request="old", number=1)
        assert rows(database_url) == []

    def test_days_count_back_from_the_newest_event(self, database_url: str, fetch: Fetch) -> None:
        show(fetch, "old", minutes=60 * 24 * 40)
        act(fetch, request="old", minutes=60 * 24 * 40 - 1)
        show(fetch)
        act(fetch, number=1)
        assert {row[0] for row in rows(database_url)} == {"old", "r"}
        assert {row[0] for row in rows(database_url, days=30)} == {"r"}

    def test_all_of_a_log_is_read_back(self, database_url: str) -> None:
        answers = clicked_answers(RankingConfig(), count=30, size=4, categories=("a", "b", None))
        log_answers(database_url, answers)
        found = LoggedAnswers.of_table(
            asyncio.run(followed_up(StorageSettings(database_url), EVENTS, days=90, hours=24))
        )
        assert found.product_ids == answers.product_ids
        assert found.categories == answers.categories
        assert (found.clicked == answers.clicked).all()


class TestReadAnswers:
    def test_no_answer_with_a_click_says_what_to_send(self, database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SHORTLIST_DATABASE_URL", database_url)
        monkeypatch.delenv("SHORTLIST_REPLICA_URLS", raising=False)
        with pytest.raises(NothingToTrainOn, match="Send events with the request_id of the answer"):
            read_answers(None)

    def test_a_file_that_is_no_log_is_named(self, tmp_path: Path) -> None:
        path = tmp_path / "log.parquet"
        pq.write_table(pa.table({"a": [1]}), path)
        with pytest.raises(WrongInput, match="column request_id, shown_at"):
            answers_of(read_answers(path))

    def test_a_file_that_is_not_parquet_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "log").write_text("not parquet")
        with pytest.raises(WrongInput, match="log cannot be read as parquet"):
            read_answers(tmp_path / "log")

    def test_an_empty_log_is_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "log.parquet"
        pq.write_table(as_table(clicked_answers(RankingConfig(), count=1)).slice(0, 0), path)
        with pytest.raises(NothingToTrainOn):
            read_answers(path)
