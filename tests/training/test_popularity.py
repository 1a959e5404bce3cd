from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from artifacts import gate
from artifacts.errors import ArtifactCorrupt
from artifacts.manifest import DataWindow
from artifacts.popularity_table import PopularityTable
from artifacts.store import ArtifactStore
from storage.settings import StorageSettings
from tests.training.conftest import NOON, AddEvents, Fetch
from training import popularity
from training.errors import NothingToTrainOn
from training.popularity_rows import with_rows
from training.progress import Stopwatch


def counts(database_url: str, half_life_days: float = 30.0) -> dict[str, float]:
    table, _ = asyncio.run(popularity.counted(StorageSettings(database_url), half_life_days))
    return dict(zip(table.product_ids, table.weighted_count.tolist(), strict=True))


class TestCounted:
    def test_events_weigh_by_type(self, database_url: str, add_events: AddEvents) -> None:
        add_events(
            [
                ("u1", "p1", "purchase", None, 0),
                ("u1", "p2", "add_to_cart", None, 0),
                ("u1", "p3", "view", None, 0),
                ("u2", "p3", "click", None, 0),
            ]
        )
        assert counts(database_url) == {"p1": 3.0, "p2": 2.0, "p3": 2.0}

    def test_ratings_weigh_by_value(self, database_url: str, add_events: AddEvents) -> None:
        add_events([("u", "p1", "rating", 5, 0), ("u", "p2", "rating", 2, 0), ("u", "p3", "rating", None, 0)])
        assert counts(database_url) == {"p1": 3.0, "p2": 0.48, "p3": 1.0}

    def test_a_rating_beyond_the_scale_weighs_as_its_end(self, database_url: str, add_events: AddEvents) -> None:
        add_events([("u", "p1", "rating", 100, 0), ("u", "p2", "rating", -3, 0)])
        assert counts(database_url) == {"p1": 3.0, "p2": 0.0}

    def test_counts_halve_from_the_end_of_the_window_not_from_today(
        self, database_url: str, add_events: AddEvents
    ) -> None:
        add_events([("u", "p1", "view", None, 0), ("u", "p2", "view", None, 10), ("u", "p3", "view", None, 20)])
        assert counts(database_url, half_life_days=10) == {"p1": 1.0, "p2": 0.5, "p3": 0.25}

    def test_an_event_of_the_future_does_not_age_the_others(self, database_url: str, add_events: AddEvents) -> None:
        add_events([("u", "p1", "view", None, 0), ("u", "p2", "view", None, -365_000)])
        assert counts(database_url) == {"p1": 1.0, "p2": 1.0}

    def test_a_stray_late_event_does_not_age_the_others(self, database_url: str, add_events: AddEvents) -> None:
        add_events([*(("u", "p1", "view", None, 100) for _ in range(2000)), ("u", "p2", "view", None, 0)])
        assert counts(database_url) == {"p1": 2000.0, "p2": 1.0}

    def test_events_on_products_that_are_gone_do_not_count(self, database_url: str, add_events: AddEvents) -> None:
        add_events([("u", "p1", "view", None, 0), ("u", "gone", "view", None, 0)])
        assert counts(database_url) == {"p1": 1.0}

    def test_the_window_spans_the_events(self, database_url: str, add_events: AddEvents) -> None:
        add_events([("u", "p1", "view", None, 0), ("u", "p1", "view", None, 3)])
        _, window = asyncio.run(popularity.counted(StorageSettings(database_url), 30))
        assert (window.end, (window.end - window.start).days) == (NOON, 3)

    def test_popularity_is_the_logarithm_of_the_count_by_that_of_the_largest(
        self, database_url: str, add_events: AddEvents
    ) -> None:
        add_events([("u", "p1", "purchase", None, 0), ("u", "p2", "view", None, 0), ("u", "p3", "rating", 0, 0)])
        table, _ = asyncio.run(popularity.counted(StorageSettings(database_url), 30))
        assert table.popularity.tolist() == [1.0, 0.5, 0.0]
        assert table.popularity.dtype == np.float32

    def test_where_nothing_counts_all_is_nothing(self, database_url: str, add_events: AddEvents) -> None:
        add_events([("u", "p1", "rating", 0, 0)])
        table, _ = asyncio.run(popularity.counted(StorageSettings(database_url), 30))
        assert table.popularity.tolist() == [0.0]

    def test_events_older_than_ten_half_lives_are_not_read(self, database_url: str, add_events: AddEvents) -> None:
        add_events([("u", "p1", "view", None, 0), ("u", "p2", "view", None, 9.9), ("u", "p3", "view", None, 10.1)])
        assert counts(database_url, half_life_days=1) == {"p1": 1.0, "p2": 0.001047}

    @pytest.mark.usefixtures("add_events")
    def test_without_events_there_is_nothing_to_count(self, database_url: str) -> None:
        with pytest.raises(NothingToTrainOn):
            counts(database_url)


class TestPopularityJob:
    """The job as its command runs it; popularity needs no Ray cluster."""

    @pytest.fixture
    def store(self, tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch) -> ArtifactStore:
        monkeypatch.setenv("SHORTLIST_DATABASE_URL", database_url)
        monkeypatch.delenv("SHORTLIST_REPLICA_URLS", raising=False)
        monkeypatch.setattr(sys, "argv", ["popularity", "--root", str(tmp_path)])
        return ArtifactStore(str(tmp_path))

    def test_rows_versions_and_artifact_agree(
        self, store: ArtifactStore, add_events: AddEvents, fetch: Fetch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        add_events([("u", "p1", "purchase", None, 0), ("u", "p2", "view", None, 0)])
        popularity.main()
        last_line = json.loads(capsys.readouterr().out.splitlines()[-1])
        version = store.active_version("popularity")
        assert (last_line["kind"], last_line["version"]) == ("popularity", version)
        rows = fetch("select product_id, popularity, weighted_count, version from product_popularity order by 1")
        assert rows == [("p1", 1.0, 3.0, version), ("p2", 0.5, 1.0, version)]
        assert fetch("select version, window_end, half_life_days from popularity_versions where active") == [
            (version, NOON, 30.0)
        ]
        table = PopularityTable.load(store.fetch("popularity", version or ""))
        assert table.product_ids == ["p1", "p2"]

    def test_a_second_version_replaces_the_first_and_can_be_rolled_back(
        self, store: ArtifactStore, add_events: AddEvents, fetch: Fetch, database_url: str
    ) -> None:
        add_events([("u", "p1", "view", None, 0)])
        popularity.main()
        first = store.active_version("popularity")
        fetch("update events set product_id = 'p3'")
        popularity.main()
        assert fetch("select product_id from product_popularity") == [("p3",)]
        assert first is not None
        gate.roll_back(store, "popularity", first, enter=with_rows(database_url))
        assert fetch("select product_id, version from product_popularity") == [("p1", first)]
        assert fetch("select version from popularity_versions where active") == [(first,)]
        assert store.active_version("popularity") == first

    def test_rows_stay_when_the_artifact_cannot_be_activated(
        self, store: ArtifactStore, add_events: AddEvents, fetch: Fetch, database_url: str
    ) -> None:
        add_events([("u", "p1", "view", None, 0)])
        popularity.main()
        before = fetch("select * from product_popularity")
        table = PopularityTable(["p2"], np.ones(1, np.float32), np.ones(1))
        window = DataWindow(start=NOON, end=NOON)
        manifest = popularity.publish(store, table, window, 30.0, Stopwatch())
        file = Path(store.root) / "popularity" / manifest.version / "popularity.parquet"

        def activate_what_is_gone() -> None:
            file.unlink()
            store.activate("popularity", manifest.version)

        with pytest.raises(ArtifactCorrupt):
            with_rows(database_url)(manifest, table, activate_what_is_gone)
        assert fetch("select * from product_popularity") == before

    @pytest.mark.usefixtures("store", "add_events")
    def test_without_events_it_ends_with_advice(self) -> None:
        with pytest.raises(SystemExit, match="Load some, then run the job again"):
            popularity.main()

    @pytest.mark.usefixtures("store")
    def test_without_a_database_it_ends_with_advice(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("SHORTLIST_DATABASE_URL", f"postgresql://nobody@/nothing?host={tmp_path}")
        with pytest.raises(SystemExit, match="Check SHORTLIST_DATABASE_URL"):
            popularity.main()
