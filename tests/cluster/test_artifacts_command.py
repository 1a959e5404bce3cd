"""``shortlist artifacts`` on stores of its own."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import asyncpg
import pytest
from rich.console import Console

from artifacts.manifest import MANIFEST_NAME, DataWindow
from artifacts.store import ArtifactStore
from cluster.artifact_tables import versions_table
from tests.artifacts.s3_server import CREDENTIALS, s3_server
from tests.artifacts.test_store import flip_a_bit
from tests.cluster.artifact_shop import (
    ACTIVE,
    BEFORE,
    FIRST,
    KIND,
    WORSE,
    Answer,
    Graph,
    fill,
    in_process,
    publish,
)

Run = Callable[..., Answer]


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return fill(tmp_path / "artifacts", tmp_path / "sources")


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """The command below ``shortlist artifacts``, with no stack and the store in the environment."""
    for name in [name for name in os.environ if name.startswith("SHORTLIST_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("SHORTLIST_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("SHORTLIST_ARTIFACTS", str(tmp_path / "artifacts"))
    return lambda *arguments: in_process(monkeypatch, capsys, "artifacts", *arguments)


@pytest.fixture
def graph() -> Iterator[Graph]:
    with Graph.started() as started:
        yield started


@pytest.mark.usefixtures("store")
class TestList:
    def test_it_shows_figures_and_marks_the_active_one_and_the_one_before(self, run: Run) -> None:
        done = run("list")
        assert done.code == 0, done.err
        lines = {words[1]: line for line in done.out.splitlines() if len(words := line.split()) > 2}
        assert lines[ACTIVE].startswith("* ")
        assert "ndcg_at_10 0.1956" in lines[ACTIVE]
        assert lines[BEFORE].startswith("< ")
        assert "popularity: no versions" in done.out
        assert "No graph is known to run here" in done.err

    def test_versions_can_be_copied_whole_beside_one_that_is_damaged(self, run: Run, store: ArtifactStore) -> None:
        manifest = Path(store.root) / KIND / WORSE / MANIFEST_NAME
        manifest.write_text(manifest.read_text().replace("0.1702", "0.9"))
        console = Console(width=100)
        with console.capture() as shown:
            console.print(versions_table(KIND, run("list", "--json").document["kinds"][KIND]))
        assert {FIRST, BEFORE, ACTIVE, WORSE} <= set(shown.get().split())
        assert "differs" in shown.get()

    def test_for_machines_it_is_one_document(self, run: Run) -> None:
        document = run("list", KIND, "--json").document
        assert document["graph"] == {
            "url": None,
            "served": {},
            "problem": "No graph is known to run here; name one with --url or SHORTLIST_URL",
        }
        kind = document["kinds"][KIND]
        assert (kind["active"], kind["before"], kind["problem"]) == (ACTIVE, BEFORE, None)
        assert [each["version"] for each in kind["versions"]] == [FIRST, BEFORE, ACTIVE, WORSE]
        assert kind["versions"][2]["parent"] == BEFORE

    def test_it_says_which_parts_of_the_graph_use_what(self, run: Run, graph: Graph) -> None:
        graph.serves(BEFORE)
        document = run("list", "--json", "--url", graph.url).document
        assert document["graph"]["served"][KIND] == {BEFORE: ["ranking", "recommendation"]}
        assert document["kinds"][KIND]["versions"][1]["served_by"] == ["ranking", "recommendation"]

    def test_damage_is_shown_beside_the_rest(self, run: Run, tmp_path: Path) -> None:
        kind = tmp_path / "artifacts" / KIND
        (kind / FIRST / MANIFEST_NAME).write_text("{")
        (kind / "ACTIVE").write_text("scribble")
        done = run("list", KIND)
        assert done.code == 0
        assert "cannot be read" in done.out
        assert "does not name a version. Activate one of" in done.err
        assert ACTIVE in done.out


@pytest.mark.usefixtures("store")
class TestShowAndDiff:
    def test_show_has_all_of_a_version_and_the_history(self, run: Run) -> None:
        done = run("show", KIND)
        assert done.code == 0, done.err
        for expected in (ACTIVE, "parameter als: {'factors': 32, 'alpha': 1.0}", "file user_factors.npy"):
            assert expected in done.out
        assert f"activated {ACTIVE}, instead of {BEFORE}" in done.out
        document = run("show", KIND, FIRST, "--json").document
        assert (document["active"], document["metrics"]["ndcg_at_10"]) == (False, 0.1921)
        assert [each["version"] for each in document["history"]] == [FIRST, BEFORE, ACTIVE]

    def test_diff_shows_what_changed_from_the_active_one(self, run: Run) -> None:
        document = run("diff", KIND, WORSE, "--json").document
        assert document["metrics"] == {"ndcg_at_10": [0.1956, 0.1702], "recall_at_20": [0.1991, 0.1725]}
        assert document["parameters"] == {"als.alpha": [1.0, 40.0]}
        assert document["counts"] == {}
        assert "-0.0254 (-13.0%)" in run("diff", KIND, WORSE).out


class TestActivate:
    def test_a_worse_one_is_refused_with_the_figures(self, run: Run, store: ArtifactStore) -> None:
        done = run("activate", KIND, WORSE)
        assert done.code == 10
        assert "ndcg_at_10: 0.1702 against 0.1956 (-13.0%), at least 0.1858 is needed" in done.err
        assert store.active_version(KIND) == ACTIVE
        assert run("activate", KIND, WORSE, "--json").document["exit_code"] == 10

    def test_more_may_be_allowed_or_forced_and_the_history_says_so(self, run: Run, store: ArtifactStore) -> None:
        assert run("activate", KIND, WORSE, "--margin", "0.2").code == 0
        assert store.active_version(KIND) == WORSE
        run("rollback", KIND)
        document = run("activate", KIND, WORSE, "--force", "--json").document
        assert (document["activated"], document["compared_with"], len(document["overruled"])) == (True, ACTIVE, 2)
        assert "forced: ndcg_at_10" in run("show", KIND).out

    def test_a_trial_changes_nothing(self, run: Run, store: ArtifactStore) -> None:
        assert run("activate", KIND, FIRST, "--dry-run").code == 0
        assert run("activate", KIND, WORSE, "--dry-run").code == 10
        assert store.active_version(KIND) == ACTIVE

    def test_a_corrupt_one_is_refused_forced_or_not(self, run: Run, store: ArtifactStore) -> None:
        flip_a_bit(Path(store.root) / KIND / WORSE / "item_factors.npy")
        done = run("activate", KIND, WORSE, "--force")
        assert done.code == 10
        assert "sha256 of item_factors.npy differs" in done.err
        assert store.active_version(KIND) == ACTIVE

    @pytest.mark.usefixtures("store")
    def test_what_is_unknown_is_named_with_what_there_is(self, run: Run) -> None:
        done = run("activate", KIND, "20251122T030220Z-ffffff")
        assert done.code == 2
        assert f"There is no collaborative 20251122T030220Z-ffffff in {os.environ['SHORTLIST_ARTIFACTS']}" in done.err
        assert f"The latest are: {WORSE}" in done.err
        done = run("activate", "nothing", WORSE)
        assert done.code == 2
        assert "'nothing' is not one of" in done.err


class TestRollback:
    def test_it_goes_back_further_each_time_and_then_says_what_to_do(self, run: Run, store: ArtifactStore) -> None:
        for expected in (BEFORE, FIRST):
            assert run("rollback", KIND, "--json").document["version"] == expected
            assert store.active_version(KIND) == expected
        done = run("rollback", KIND)
        assert done.code == 10
        assert "shortlist artifacts activate collaborative VERSION" in done.err
        assert store.active_version(KIND) == FIRST

    def test_one_that_is_damaged_is_refused_and_others_are_named(self, run: Run, store: ArtifactStore) -> None:
        flip_a_bit(Path(store.root) / KIND / BEFORE / "item_factors.npy")
        done = run("rollback", KIND)
        assert done.code == 10
        assert f"In use earlier: {FIRST}" in done.err
        assert store.active_version(KIND) == ACTIVE

    def test_it_mends_a_scribbled_pointer(self, run: Run, store: ArtifactStore) -> None:
        (Path(store.root) / KIND / "ACTIVE").write_text("scribble")
        assert run("rollback", KIND).code == 0
        assert store.active_version(KIND) == ACTIVE


class TestPrune:
    def test_a_trial_says_the_bytes_and_then_it_is_done(self, run: Run, store: ArtifactStore) -> None:
        size = sum(path.stat().st_size for path in (Path(store.root) / KIND / FIRST).iterdir())
        trial = run("prune", "--dry-run", "--json").document
        assert trial["kinds"][KIND]["removed"] == [
            {"name": FIRST, "bytes": size, "leftover": False},
            {"name": WORSE, "bytes": pytest.approx(size, abs=100), "leftover": False},
        ]
        assert len(store.versions(KIND)) == 4
        done = run("prune")
        assert done.code == 0
        assert "stays: active" in done.err
        assert store.versions(KIND) == [BEFORE, ACTIVE]
        assert run("prune", "--json").document["bytes_freed"] == 0

    def test_what_the_graph_uses_stays(self, run: Run, graph: Graph, store: ArtifactStore) -> None:
        graph.serves(FIRST)
        assert run("prune", "--url", graph.url, "--json").document["kinds"][KIND]["kept"][FIRST].startswith("served by")
        assert store.versions(KIND) == [FIRST, BEFORE, ACTIVE]

    def test_a_graph_that_cannot_be_asked_stops_it(self, run: Run, graph: Graph, store: ArtifactStore) -> None:
        for url in ("http://127.0.0.1:1", graph.url):
            done = run("prune", "--url", url)
            assert done.code == 1
            assert "Nothing was removed. Repair it, or prune with --unasked" in done.err
        assert len(store.versions(KIND)) == 4
        assert run("prune", "--url", graph.url, "--unasked").code == 0
        assert store.versions(KIND) == [BEFORE, ACTIVE]

    @pytest.mark.usefixtures("store")
    def test_a_day_is_the_least(self, run: Run) -> None:
        done = run("prune", "--keep-hours", "1")
        assert done.code == 2
        assert "--keep-hours" in done.err
        assert run("prune", "--keep-hours", "1000000", "--json").document["bytes_freed"] == 0

    def test_a_kind_whose_pointer_is_scribbled_stays_as_it_is(self, run: Run, store: ArtifactStore) -> None:
        (Path(store.root) / KIND / "ACTIVE").write_text("scribble")
        assert "does not name a version" in run("prune", "--json").document["kinds"][KIND]["problem"]
        assert len(store.versions(KIND)) == 4


class TestPlaces:
    def test_without_any_it_says_how_to_name_one(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("SHORTLIST_ARTIFACTS")
        done = run("list")
        assert done.code == 3
        assert "--root or SHORTLIST_ARTIFACTS" in done.err

    def test_a_root_that_is_not_there_is_no_empty_one(self, run: Run, tmp_path: Path) -> None:
        done = run("list", "--root", str(tmp_path / "typo"))
        assert done.code == 2
        assert f"There is no {tmp_path}/typo" in done.err.replace("\n", "")

    def test_a_root_that_is_a_file_is_explained(self, run: Run, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        done = run("list", "--root", str(tmp_path / "file"))
        assert done.code == 1
        assert "is not a directory" in done.err

    def test_a_stopped_stack_is_looked_into(self, run: Run, store: ArtifactStore, tmp_path: Path) -> None:
        shutil.copytree(store.root, tmp_path / "state" / "artifacts")
        document = run("list", "--json", "--state-dir", str(tmp_path / "state")).document
        assert document["root"] == str(tmp_path / "state" / "artifacts")

    def test_everything_works_on_s3(self, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        for name, value in CREDENTIALS.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("SHORTLIST_ARTIFACT_CACHE", str(tmp_path / "cache"))
        with s3_server() as server:
            monkeypatch.setenv("SHORTLIST_ARTIFACTS", server.root("artifacts"))
            remote = ArtifactStore.from_environment()
            for version in (FIRST, BEFORE, ACTIVE):
                publish(remote, tmp_path, version)
                assert run("activate", KIND, version).code == 0
            assert run("rollback", KIND, "--json").document["version"] == BEFORE
            assert run("list", "--json").document["kinds"][KIND]["active"] == BEFORE
            assert run("show", KIND).code == 0
            assert run("diff", KIND, FIRST).code == 0
            kept = run("prune", "--json").document["kinds"][KIND]["kept"]
            assert set(kept) == {FIRST, BEFORE, ACTIVE}


class TestPopularity:
    def test_its_rows_go_to_the_database_with_it(
        self, run: Run, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("SHORTLIST_DATABASE_URL", database_url)
        window = DataWindow(start=datetime(2026, 3, 1, tzinfo=UTC), end=datetime(2026, 4, 1, tzinfo=UTC))
        store = ArtifactStore(str(tmp_path / "artifacts"))
        for version in (FIRST, BEFORE):
            publish(
                store,
                tmp_path,
                version,
                kind="popularity",
                data_window=window,
                parameters={"half_life_days": 30.0},
            )
            done = run("activate", "popularity", version)
            assert done.code == 0, done.err
        assert run("rollback", "popularity").code == 0
        assert asyncio.run(in_force(database_url)) == FIRST
        assert store.active_version("popularity") == FIRST

    def test_without_a_database_nothing_changes(
        self, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store = ArtifactStore(str(tmp_path / "artifacts"))
        window = DataWindow(start=datetime(2025, 3, 1, tzinfo=UTC), end=datetime(2025, 4, 1, tzinfo=UTC))
        fields = {"data_window": window, "parameters": {"half_life_days": 30.0}}
        publish(store, tmp_path, FIRST, kind="popularity", **fields)
        assert run("activate", "popularity", FIRST).code == 3
        monkeypatch.setenv("SHORTLIST_DATABASE_URL", f"postgresql://nobody@/nothing?host={tmp_path}")
        done = run("activate", "popularity", FIRST)
        assert done.code == 1
        assert "cannot connect" in done.err
        assert store.active_version("popularity") is None


async def in_force(database_url: str) -> str:
    connection = await asyncpg.connect(database_url)
    try:
        assert await connection.fetchval("select count(*) from product_popularity") == 2
        version: str = await connection.fetchval("select version from popularity_versions where active")
        return version
    finally:
        await connection.close()
