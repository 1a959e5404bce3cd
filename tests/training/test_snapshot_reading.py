"""From a snapshot comes what comes from Postgres."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from artifacts.event_weights import query_arguments
from storage.settings import StorageSettings
from tests.training.conftest import Fetch
from tests.training.snapshots import EVENTS, MANY, USERS, newest, taken
from training import popularity
from training.collaborative_data import read_data, read_events
from training.errors import NothingToTrainOn
from training.snapshot_popularity import snapshot_counts
from training.snapshot_reading import event_weights

TYPES = ["view", "click", "add_to_cart", "purchase", "rating", "rating", "rating", "rating", "rating", "rating"]
VALUES = [None, 2.0, None, None, None, 5.0, 2.5, -1.0, 9.0, float("nan")]


@pytest.fixture
def root(
    database_url: str, fetch: Fetch, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Path:
    """Of a snapshot of 3,000 events: ratings that come twice, at the same time too, unknown products, the future."""
    monkeypatch.setenv("SHORTLIST_DATABASE_URL", database_url)
    monkeypatch.setenv("SHORTLIST_REPLICA_URLS", "")
    for statement in (MANY, EVENTS):
        fetch(statement)
    fetch(
        "insert into events (id, user_id, product_id, type, value, occurred_at)"
        " select id || suffix, user_id, product_id, type, 5 - value, occurred_at"
        " from events, unnest(array['a', 'Z', '-']) as suffix where type = 'rating'"
    )
    fetch("update events set occurred_at = now() + interval '3 days' where id in ('e3', 'e4')")
    fetch(USERS)
    root = tmp_path / "artifacts"
    taken(monkeypatch, capsys, f"--root={root}")
    return root


class TestSnapshotInteractions:
    def test_they_are_those_of_postgres(self, database_url: str, root: Path) -> None:
        direct = asyncio.run(read_events(StorageSettings(database_url)))
        kept = read_data(None, root=str(root), snapshot="latest")
        assert kept.interactions.digest() == direct.interactions.digest()
        assert kept.digest() == direct.digest()
        assert kept.window == direct.window
        assert (kept.source, len(kept.interactions) > 400) == (newest(root).name, True)


class TestSnapshotCounts:
    @pytest.mark.parametrize("half_life_days", [0.5, 30.0])
    def test_they_are_those_of_postgres(self, database_url: str, root: Path, half_life_days: float) -> None:
        direct, window = asyncio.run(popularity.counted(StorageSettings(database_url), half_life_days))
        kept, kept_window = snapshot_counts(newest(root), half_life_days)
        assert (kept_window.end, kept_window.start) == (window.end, window.start)
        ours, theirs = (
            dict(zip(each.product_ids, each.weighted_count.tolist(), strict=True)) for each in (kept, direct)
        )
        assert ours == pytest.approx(theirs, abs=1.1e-6)
        order = [direct.product_ids.index(product) for product in kept.product_ids]
        np.testing.assert_allclose(kept.popularity, direct.popularity[order], atol=1e-6)

    def test_without_events_there_is_nothing_to_count(
        self,
        database_url: str,
        fetch: Fetch,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
        tmp_path: Path,
    ) -> None:
        monkeypatch.setenv("SHORTLIST_DATABASE_URL", database_url)
        monkeypatch.setenv("SHORTLIST_REPLICA_URLS", "")
        fetch(MANY)
        taken(monkeypatch, capsys, f"--root={tmp_path}")
        with pytest.raises(NothingToTrainOn):
            snapshot_counts(newest(tmp_path), 30)
        with pytest.raises(NothingToTrainOn):
            read_data(None, root=str(tmp_path), snapshot="latest")


class TestEventWeights:
    def test_they_are_those_of_the_database(self, fetch: Fetch) -> None:
        rows = fetch(
            "select event_weight(type, value, $1::text[], $2::text[]::double precision[], $3)"
            " from unnest($4::text[], $5::double precision[]) with ordinality as given (type, value, n) order by n",
            *query_arguments(),
            TYPES,
            VALUES,
        )
        ours = event_weights(pa.array(TYPES), pa.array(VALUES, pa.float64()))
        assert ours.tolist() == pytest.approx([row[0] for row in rows], rel=1e-15)

    def test_an_unknown_type_has_none(self) -> None:
        assert np.isnan(event_weights(pa.array(["wink"]), pa.array([1.0]))).tolist() == [True]
