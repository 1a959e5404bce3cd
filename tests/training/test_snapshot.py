from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import pyarrow.parquet as pq
import pytest

from artifacts.errors import ArtifactCorrupt, ArtifactMissing
from storage.errors import DatabaseUnavailable
from storage.settings import StorageSettings
from tests.artifacts.s3_server import CREDENTIALS, S3Server, s3_server
from tests.servers import Servers
from tests.training.conftest import Fetch
from tests.training.snapshots import EVENTS, MANY, USERS, newest, taken
from training import snapshot_copy
from training.errors import NothingToTrainOn, WrongInput
from training.snapshot_copy import copied
from training.snapshot_reading import open_snapshot
from training.snapshot_store import SnapshotStore

ROOT = Path(__file__).parents[2]
ODD = ["it's", 'with "quotes"', "new\nline", "comma, and\ttab", "ünï", "\\N", "  spaces  "]
Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def s3() -> Iterator[S3Server]:
    with s3_server() as server:
        yield server


@pytest.fixture(autouse=True)
def environment(database_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SHORTLIST_DATABASE_URL", database_url)
    monkeypatch.setenv("SHORTLIST_REPLICA_URLS", "")
    monkeypatch.setenv("SHORTLIST_ARTIFACTS", str(tmp_path / "artifacts"))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "artifacts"


@pytest.fixture
def filled(fetch: Fetch) -> None:
    for statement in (MANY, EVENTS, USERS):
        fetch(statement)


class TestSnapshotJob:
    def test_what_comes_out_is_what_was_there(
        self, fetch: Fetch, root: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
    ) -> None:
        fetch(
            "insert into products (id, title, description, price, in_stock, attributes)"
            " select 'p' || n, title, title, 0.1 * n, n % 2 = 0, jsonb_build_object('of', title)"
            " from unnest($1::text[]) with ordinality as given (title, n)",
            ODD,
        )
        fetch("insert into products (id, title, description) values ('none', 'no price', null), ('void', 'empty', '')")
        at = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
        fetch(
            "insert into events (id, user_id, product_id, type, value, occurred_at)"
            " values ('e1', 'u', 'p1', 'rating', 0.1, $1), ('e0', 'u', 'p1', 'view', null, $1)",
            at,
        )
        last = taken(monkeypatch, capsys)
        found = newest(root)
        assert (last["kind"], last["version"], last["changed"]) == ("snapshot", found.manifest.version, True)
        assert last["counts"] == {"products": 9, "events": 2, "users": 1}
        products = {row["id"]: row for row in pq.read_table(found.directory / "products.parquet").to_pylist()}
        assert [products[f"p{n}"]["title"] for n in range(1, 8)] == ODD
        assert json.loads(products["p2"]["attributes"]) == {"of": ODD[1]}
        assert [(str(products[name]["price"]), products[name]["in_stock"]) for name in ("p1", "p2")] == [
            ("0.1000", False),
            ("0.2000", True),
        ]
        assert (products["none"]["description"], products["void"]["description"]) == (None, "")
        assert products["none"]["price"] is None
        events = pq.read_table(found.directory / "events").to_pylist()
        assert [(row["id"], row["value"], row["occurred_at"]) for row in events] == [("e0", None, at), ("e1", 0.1, at)]
        report = json.loads((found.directory / "report.json").read_text(encoding="utf-8"))
        assert report["counts"] == last["counts"]
        assert f"snapshot {last['version']}" in (found.directory / "report.txt").read_text(encoding="utf-8")

    @pytest.mark.usefixtures("filled")
    def test_where_nothing_changed_nothing_is_published(
        self, fetch: Fetch, root: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
    ) -> None:
        first = taken(monkeypatch, capsys)
        again = taken(monkeypatch, capsys)
        assert (again["version"], again["changed"]) == (first["version"], False)
        fetch("update products set price = 5 where id = 'p1'")
        second = taken(monkeypatch, capsys)
        assert second["changed"]
        third = taken(monkeypatch, capsys, "--anew")
        assert {*SnapshotStore(str(root)).versions()} == {each["version"] for each in (first, second, third)}
        assert newest(root).manifest.parent == second["version"]

    @pytest.mark.usefixtures("filled")
    def test_events_lie_by_month_or_by_day(self, root: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
        taken(monkeypatch, capsys)
        months = newest(root)
        assert months.manifest.event_files[-2:] == ["events/2026-02.parquet", "events/2026-03.parquet"]
        taken(monkeypatch, capsys, "--partition=day")
        days = newest(root)
        assert days.manifest.event_files[-1] == "events/2026-03-01.parquet"
        assert [
            sum(pq.read_metadata(each.directory / name).num_rows for name in each.manifest.event_files)
            for each in (months, days)
        ] == [3000, 3000]

    def test_it_is_of_one_moment_though_much_is_written(
        self, database_url: str, fetch: Fetch, root: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
    ) -> None:
        """Each transaction adds a product and its event; events are copied well after products."""
        fetch("insert into products (id, title) select 's' || n, 'one' from generate_series(1, 20000) as n")
        stop = threading.Event()
        written = threading.Thread(target=lambda: asyncio.run(_keep_adding(database_url, stop)))
        written.start()
        try:
            taken(monkeypatch, capsys, "--repeated-titles=1")
        finally:
            stop.set()
            written.join()
        found = newest(root)
        ids = {name for name in found.product_ids() if name.startswith("w")}
        table = pq.read_table(found.directory / "events") if found.manifest.event_files else None
        assert ids == (set() if table is None else set(table["product_id"].to_pylist()))
        (total,) = fetch("select count(*) from events")[0]
        assert isinstance(total, int)
        assert len(ids) < total

    @pytest.mark.usefixtures("filled")
    def test_a_killed_one_is_never_seen_and_run_again_is_whole(self, fetch: Fetch, root: Path, tmp_path: Path) -> None:
        fetch("insert into products (id, title) select 'm' || n, 'title ' || n from generate_series(1, 30000) as n")
        command = [sys.executable, "-m", "training.snapshot"]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as job:
            assert job.stdout is not None
            assert any("copying from" in line for line in job.stdout)
            job.kill()
        assert SnapshotStore(str(root)).versions() == []
        left = list(tmp_path.glob("shortlist-snapshots-*/.staging-*"))
        assert len(left) == 1
        day_before = datetime.now(UTC).timestamp() - 90_000
        os.utime(left[0], (day_before, day_before))
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        assert json.loads(done.stdout.splitlines()[-1])["counts"]["products"] == 30_060
        assert len(SnapshotStore(str(root)).versions()) == 1
        assert list(tmp_path.glob("shortlist-snapshots-*/.staging-*")) == []

    @pytest.mark.usefixtures("filled")
    def test_an_object_store_holds_one_as_well(
        self, s3: S3Server, monkeypatch: pytest.MonkeyPatch, capsys: Capture, tmp_path: Path
    ) -> None:
        for name, value in CREDENTIALS.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("SHORTLIST_ARTIFACT_CACHE", str(tmp_path / "cache"))
        where = s3.root("snapshots-test")
        first = taken(monkeypatch, capsys, f"--root={where}")
        assert taken(monkeypatch, capsys, f"--root={where}")["version"] == first["version"]
        assert len(newest(where).product_ids()) == 60

    def test_without_products_there_is_nothing_to_copy(self, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
        with pytest.raises(SystemExit, match="There are no products"):
            taken(monkeypatch, capsys)

    @pytest.mark.usefixtures("filled")
    def test_strict_ends_with_an_error_when_there_is_an_alarm(
        self, fetch: Fetch, root: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
    ) -> None:
        fetch("insert into events select * from events where id = 'e7'")
        with pytest.raises(SystemExit, match="--strict"):
            taken(monkeypatch, capsys, "--strict", "--unknown-products=1")
        said = capsys.readouterr().out
        assert "1 events bear the id of another" in said
        assert newest(root).manifest.alarms == ["1 events bear the id of another"]
        with pytest.raises(SystemExit, match="--strict"):
            taken(monkeypatch, capsys, "--strict", "--unknown-products=1")
        assert len(SnapshotStore(str(root)).versions()) == 1
        assert taken(monkeypatch, capsys, "--anew", "--repeated-events=0.1", "--unknown-products=1")["alarms"] == []


class TestCopied:
    @pytest.mark.usefixtures("filled")
    def test_the_replica_is_read(self, servers: Servers, database_url: str, tmp_path: Path) -> None:
        servers.replay()
        settings = StorageSettings("postgresql://nobody@/nothing", (servers.replica_url_of(database_url),))
        copy = asyncio.run(copied(settings, tmp_path / "copy", "month", recent_days=7))
        assert (copy.source, copy.products.rows, copy.events.rows) == ("replica-1", 60, 3000)

    @pytest.mark.usefixtures("filled")
    def test_the_primary_is_not_read_where_a_replica_is_named(
        self, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(snapshot_copy, "_WAIT_S", 0.0)
        settings = StorageSettings(database_url, (f"postgresql://nobody@/nothing?host={tmp_path}",))
        with pytest.raises(DatabaseUnavailable, match="read from replicas only"):
            asyncio.run(copied(settings, tmp_path / "copy", "month", recent_days=7))

    def test_a_connection_that_breaks_off_costs_a_new_beginning(
        self, database_url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(snapshot_copy, "_WAIT_S", 0.0)

        async def ended_once(connection: asyncpg.Connection, source: str, number: int) -> tuple[str, int]:
            if not number:
                await connection.execute("select pg_terminate_backend(pg_backend_pid())")
            return source, number

        outcome = asyncio.run(snapshot_copy._from_one_that_lasts(StorageSettings(database_url), ended_once))
        assert outcome == ("primary", 1)

    def test_what_cannot_be_helped_by_a_new_beginning_is_raised(self, database_url: str, tmp_path: Path) -> None:
        with pytest.raises(NothingToTrainOn):
            asyncio.run(copied(StorageSettings(database_url), tmp_path, "month", recent_days=7))
        assert list(tmp_path.iterdir()) == []


class TestSnapshotStore:
    @pytest.mark.usefixtures("filled")
    def test_old_ones_go_and_none_of_the_last_day(
        self, root: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
    ) -> None:
        versions = [taken(monkeypatch, capsys, "--anew", "--keep=1")["version"] for _ in range(3)]
        store = SnapshotStore(str(root))
        assert store.versions() == sorted(versions)
        tomorrow = datetime.now(UTC) + timedelta(hours=25)
        assert len(store.prune(2, now=tomorrow)) == 1
        assert len(store.prune(1, now=tomorrow)) == 1
        assert store.versions() == [max(versions)]

    @pytest.mark.usefixtures("filled")
    def test_a_damaged_one_is_refused_and_taken_anew(
        self, root: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
    ) -> None:
        version = taken(monkeypatch, capsys)["version"]
        file = root / "snapshots" / version / "products.parquet"
        file.write_bytes(file.read_bytes()[:-1])
        with pytest.raises(ArtifactCorrupt, match=r"products\.parquet has"):
            newest(root)
        assert taken(monkeypatch, capsys)["version"] != version
        assert len(newest(root).product_ids()) == 60


class TestOpenSnapshot:
    @pytest.mark.usefixtures("filled")
    def test_it_goes_by_version_or_by_path(
        self, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
    ) -> None:
        version = taken(monkeypatch, capsys)["version"]
        elsewhere = shutil.copytree(root / "snapshots" / version, tmp_path / "elsewhere")
        assert [open_snapshot(str(root), name).manifest.version for name in (version, str(elsewhere))] == [version] * 2
        (elsewhere / "users.parquet").unlink()
        with pytest.raises(ArtifactCorrupt, match=r"users\.parquet is missing"):
            open_snapshot(str(root), str(elsewhere))

    def test_what_is_not_there_is_said(self, root: Path, tmp_path: Path) -> None:
        with pytest.raises(ArtifactMissing, match=r"training\.snapshot"):
            open_snapshot(str(root), "latest")
        with pytest.raises(ArtifactMissing, match="There are: none"):
            open_snapshot(str(root), "20261122T150405Z-3fa9c1")
        with pytest.raises(WrongInput, match="is no snapshot"):
            open_snapshot(str(root), str(tmp_path))


async def _keep_adding(database_url: str, stop: threading.Event) -> None:
    connection = await asyncpg.connect(database_url)
    number = 0
    try:
        while not stop.is_set():
            number += 1
            async with connection.transaction():
                await connection.execute("insert into products (id, title) values ($1, 'written')", f"w{number}")
                await connection.execute(
                    "insert into events (id, user_id, product_id, type, occurred_at)"
                    " values ($1, 'u', $1, 'view', now())",
                    f"w{number}",
                )
    finally:
        await connection.close()
