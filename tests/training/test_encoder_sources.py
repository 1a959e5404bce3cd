from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from storage.settings import StorageSettings
from tests.training.conftest import NOON, Fetch
from tests.training.snapshots import taken
from training.encoder_pairs import SplitPairs, SplitRule
from training.encoder_sources import PairSource
from training.errors import WrongInput

ALL_LEARNED = SplitRule(share=0)


def pairs(split: SplitPairs) -> set[tuple[str, str]]:
    return set(zip(split.learned["query"].to_pylist(), split.learned["document"].to_pylist(), strict=True))


def source(database_url: str | None, **fields: object) -> PairSource:
    settings = StorageSettings(database_url) if database_url else None
    whole = {"pairs": None, "root": "", "snapshot": None, "settings": settings, "events": ["click"], "days": 90}
    return PairSource(**whole | {"hours": 24} | fields)  # type: ignore[arg-type]


@pytest.fixture
def catalogue(fetch: Fetch) -> set[tuple[str, str]]:
    """Two products, one of which says nothing but its title."""
    fetch(
        "insert into products (id, title, description, category, brand, attributes) values "
        "('p1', 'Red wine', E'Tastes of\ncherries, \"dry\"', 'Wine', 'Rioja', '{\"year\": 2019}'),"
        "('p2', 'Film', null, null, null, '{}')"
    )
    return {("Red wine", 'Rioja. Wine. year: 2019. Tastes of cherries, "dry"')}


@pytest.fixture
def searched(fetch: Fetch, catalogue: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """One search that showed both products, after which p1 was clicked."""
    fetch(
        "insert into impressions (request_id, shown_at, kind, query, product_ids, ranks, scores) values "
        "('r1', $1, 'search', ' Cherry Wine', array['p1', 'p2'], array[1, 2], array[0.5, 0.4]),"
        "('r2', $1, 'recommendations', null, array['p2'], array[1], array[0.5])",
        NOON,
    )
    fetch(
        "insert into events (id, user_id, product_id, type, occurred_at, request_id) values "
        "('e1', 'u', 'p1', 'click', $1, 'r1'), ('e2', 'u', 'p1', 'click', $1, 'r1'),"
        "('e3', 'u', 'p2', 'view', $1, 'r1'), ('e4', 'u', 'p2', 'click', $1, 'r2'),"
        "('e5', 'u', 'p2', 'click', $2, 'r1'), ('e6', 'u', 'p3', 'click', $1, 'r1')",
        NOON + timedelta(minutes=1),
        NOON + timedelta(hours=30),
    )
    ((_, rest),) = catalogue
    return {("cherry wine", "Red wine. " + rest)}


class TestPostgres:
    def test_a_title_and_the_rest_of_the_text_are_a_pair(
        self, database_url: str, catalogue: set[tuple[str, str]]
    ) -> None:
        assert pairs(source(database_url).split(ALL_LEARNED)) == catalogue

    def test_so_are_a_query_and_what_was_clicked_of_its_answer(
        self, database_url: str, catalogue: set[tuple[str, str]], searched: set[tuple[str, str]]
    ) -> None:
        split = source(database_url).split(ALL_LEARNED)
        assert pairs(split) == catalogue | searched
        assert split.counts["pairs_click"] == 1

    def test_without_events_that_count_there_are_titles_alone(
        self, database_url: str, catalogue: set[tuple[str, str]], searched: set[tuple[str, str]]
    ) -> None:
        assert searched
        assert pairs(source(database_url, events=[]).split(ALL_LEARNED)) == catalogue


class TestSnapshot:
    def test_it_gives_the_same_titles_and_the_database_the_clicks(
        self,
        database_url: str,
        catalogue: set[tuple[str, str]],
        searched: set[tuple[str, str]],
        *,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        monkeypatch.setenv("SHORTLIST_DATABASE_URL", database_url)
        monkeypatch.setenv("SHORTLIST_REPLICA_URLS", "")
        taken(monkeypatch, capsys, f"--root={tmp_path}")
        place = {"root": str(tmp_path), "snapshot": "latest"}
        assert pairs(source(None, **place).split(ALL_LEARNED)) == catalogue
        from_both = source(database_url, **place).split(ALL_LEARNED)
        assert pairs(from_both) == catalogue | searched
        assert from_both.digest() == source(database_url).split(ALL_LEARNED).digest()


class TestFile:
    def test_products_that_are_not_named_follow_from_their_documents(self, tmp_path: Path) -> None:
        pq.write_table(pa.table({"query": ["a", "b", None], "document": ["x", "y", "z"]}), tmp_path / "pairs.parquet")
        split = source(None, pairs=str(tmp_path / "pairs.parquet")).split(ALL_LEARNED)
        assert pairs(split) == {("a", "x"), ("b", "y")}

    def test_one_without_the_columns_is_refused(self, tmp_path: Path) -> None:
        pq.write_table(pa.table({"query": ["a"]}), tmp_path / "pairs.parquet")
        with pytest.raises(WrongInput, match="no column document"):
            source(None, pairs=str(tmp_path / "pairs.parquet")).split(ALL_LEARNED)

    @pytest.mark.parametrize("content", [None, b"no parquet"])
    def test_one_that_cannot_be_read_is_refused(self, tmp_path: Path, content: bytes | None) -> None:
        path = tmp_path / "pairs.parquet"
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(WrongInput):
            source(None, pairs=str(path)).split(ALL_LEARNED)
