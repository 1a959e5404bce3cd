"""The evaluation of a catalogue, on a real database and a snapshot of it; what is served, on the stack's own tests."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from artifacts.factors import Factors
from artifacts.manifest import ManifestDraft, new_version
from artifacts.store import ArtifactStore
from catalogue.importing import import_events, import_products
from catalogue.readers import read_rows
from tests.training.conftest import Fetch
from tests.training.snapshots import EVENTS, MANY, USERS, newest, taken
from training import evaluate
from training.als import AlsSettings, fit_factors
from training.collaborative_data import read_data
from training.holdout import Holdout, HoldoutRule
from training.past_stack import known_before, loadable, with_new_products
from training.served_check import list_matrix, offline_list, users_to_ask

SETTINGS = AlsSettings(factors=4, iterations=3)


@pytest.fixture
def root(
    database_url: str, fetch: Fetch, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Path:
    """A snapshot of 3,000 events, and a version of collaborative that learned from all of them."""
    monkeypatch.setenv("SHORTLIST_DATABASE_URL", database_url)
    monkeypatch.setenv("SHORTLIST_REPLICA_URLS", "")
    monkeypatch.delenv("SHORTLIST_URL", raising=False)
    for statement in (MANY, EVENTS, USERS):
        fetch(statement)
    fetch("update products set hidden = id = 'p1', in_stock = id <> 'p2'")
    root = tmp_path / "artifacts"
    taken(monkeypatch, capsys, f"--root={root}")
    return root


@pytest.fixture
def version(root: Path, tmp_path: Path) -> str:
    interactions = read_data(None, root=str(root), snapshot="latest").interactions
    users, items = fit_factors(interactions.matrix(), SETTINGS)
    files = tmp_path / "files"
    files.mkdir()
    Factors(interactions.user_ids, interactions.item_ids, users, items, SETTINGS.regularization, SETTINGS.alpha).save(
        files
    )
    draft = ManifestDraft(
        kind="collaborative",
        version=new_version(),
        dim=SETTINGS.factors,
        metric="dot",
        parameters={"als": SETTINGS.as_parameters(), "cf_transform": {"kind": "clip"}},
    )
    store = ArtifactStore(str(root))
    made = store.publish(files, draft).version
    store.activate("collaborative", made)
    return made


def evaluated(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *flags: str) -> dict[str, Any]:
    monkeypatch.setattr(sys, "argv", ["evaluate", "--json", *flags])
    evaluate.main()
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


class TestEvaluate:
    @pytest.mark.usefixtures("version")
    def test_models_stand_beside_popularity_and_random_with_intervals_and_parts(
        self, root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
    ) -> None:
        out = tmp_path / "reports"
        found = evaluated(monkeypatch, capsys, f"--root={root}", f"--out={out}", "--baselines")
        models = found["quality"]["evaluations"]
        assert list(models) == ["random", "popularity", evaluate.REFITTED, "item-kNN", "BPR"]
        ndcg = models["popularity"]["metrics"]["ndcg_at_10"]
        assert ndcg["low"] <= ndcg["mean"] <= ndcg["high"]
        assert {"head", "tail"} <= set(models["popularity"]["segments"])
        assert "the latest 20%" in found["quality"]["data"]
        assert found["agreement"] is None
        assert "--url" in found["verdict"][0]
        assert {Path(path).suffix for path in found["written"]} == {".txt", ".json", ".html"}

    @pytest.mark.usefixtures("version")
    def test_a_snapshot_gives_the_figures_of_the_database(
        self, root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
    ) -> None:
        flags = (f"--root={root}", f"--out={tmp_path}/reports")
        direct, kept = (evaluated(monkeypatch, capsys, *flags, *more) for more in ([], ["--snapshot=latest"]))
        assert kept["quality"]["evaluations"] == direct["quality"]["evaluations"]

    def test_without_a_version_in_use_it_says_how_to_get_one(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sys, "argv", ["evaluate", f"--root={root}"])
        with pytest.raises(SystemExit, match="shortlist train collaborative"):
            evaluate.main()

    def test_a_second_stack_needs_a_snapshot(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sys, "argv", ["evaluate", f"--root={root}", "--second-stack"])
        with pytest.raises(SystemExit, match="--snapshot"):
            evaluate.main()

    def test_where_no_report_can_be_written_nothing_is_measured(
        self, root: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        (tmp_path / "file").write_text("")
        monkeypatch.setattr(sys, "argv", ["evaluate", f"--root={root}", f"--out={tmp_path}/file/reports"])
        with pytest.raises(SystemExit, match="--out: nothing can be written"):
            evaluate.main()


class TestUnavailable:
    def test_those_of_a_snapshot_are_the_hidden_and_those_out_of_stock(self, root: Path) -> None:
        assert newest(root).unavailable() == ["p1", "p2"]


class TestPast:
    def test_what_is_loaded_is_what_the_hold_out_knows(self, root: Path, tmp_path: Path) -> None:
        interactions = read_data(None, root=str(root), snapshot="latest").interactions
        holdout = HoldoutRule("time", 0.2).cut(interactions)
        assert holdout is not None
        known = known_before(interactions, holdout)
        assert int(known.sum()) == holdout.known.nnz
        products, events = loadable(newest(root), interactions, known, tmp_path)

        table = pq.read_table(events)
        pairs = set(zip(table["user_id"].to_pylist(), table["product_id"].to_pylist(), strict=True))
        assert len(pairs) == holdout.known.nnz
        first = json.loads(products.read_text(encoding="utf-8").splitlines()[0])
        assert (first["id"], first["hidden"], first["attributes"]) == ("p1", True, {})

    def test_it_can_be_loaded_and_is_what_the_catalogue_holds(
        self, database_url: str, root: Path, tmp_path: Path
    ) -> None:
        interactions = read_data(None, root=str(root), snapshot="latest").interactions
        everything = np.ones(len(interactions), dtype=np.bool_)
        products, events = loadable(newest(root), interactions, everything, tmp_path)
        loaded = asyncio.run(import_products(database_url, read_rows(products, "products", {})))
        assert (loaded.read, loaded.unchanged, loaded.rejected) == (60, 60, [])
        loaded = asyncio.run(import_events(database_url, read_rows(events, "events", {})))
        # Of these events, put there by SQL, some are ratings that no import takes.
        assert {each.field for each in loaded.rejected} <= {"value"}
        assert loaded.loaded + loaded.rejected_count == loaded.read
        assert loaded.loaded > 2000

    def test_products_that_nobody_cared_for_get_columns_of_their_own(self, root: Path) -> None:
        interactions = read_data(None, root=str(root), snapshot="latest").interactions
        holdout: Holdout | None = HoldoutRule("time", 0.2).cut(interactions)
        assert holdout is not None
        before = holdout.known.shape
        ids, known, wanted = with_new_products([], interactions, holdout)
        assert ids == interactions.item_ids
        assert known.shape == wanted.shape == before


class TestServedCheck:
    FACTORS = Factors(
        ["ann"],
        ["a", "b", "c", "d"],
        np.ones((1, 1), np.float32),
        np.array([[0.5], [0.9], [0.5], [0.1]], np.float32),
        1.0,
        1.0,
    )

    def test_the_offline_list_leaves_out_what_the_user_knows_and_orders_equals_by_id(self) -> None:
        assert offline_list(self.FACTORS, "ann", {"b", "unknown"}) == ["a", "c", "d"]
        assert offline_list(self.FACTORS, "nobody", set()) == []

    def test_lists_become_rows_of_items(self) -> None:
        assert list_matrix([["c", "a"]], ["a", "b", "c"])[0, :3].tolist() == [2, 0, -1]

    def test_users_are_drawn_from_those_that_the_version_knows(self, root: Path) -> None:
        interactions = read_data(None, root=str(root), snapshot="latest").interactions
        factors = Factors(
            interactions.user_ids[:3], ["p3"], np.ones((3, 1), np.float32), np.ones((1, 1), np.float32), 1.0, 1.0
        )
        everybody = np.arange(len(interactions.user_ids))
        assert users_to_ask(interactions, factors, everybody, 10).tolist() == [0, 1, 2]
        assert len(users_to_ask(interactions, factors, everybody, 2)) == 2
