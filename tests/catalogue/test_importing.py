from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from catalogue import importing
from catalogue.errors import ImportRefused
from catalogue.importing import import_events, import_products, import_users
from catalogue.readers import Rejection, Row, read_rows
from storage.connection import Connection
from storage.errors import DatabaseUnavailable


def products(*titles: str) -> list[Row | Rejection]:
    return [Row(line, {"id": str(line), "title": title}) for line, title in enumerate(titles, start=1)]


def event(line: int, **fields: object) -> Row:
    moment = datetime(1997, 9, line % 28 + 1, tzinfo=UTC)
    return Row(line, {"user_id": "u", "product_id": "p", "type": "view", "timestamp": moment, **fields})


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importing, "BATCH", 2)


class TestImportProducts:
    async def test_good_lines_are_loaded_and_bad_ones_named(self, database_url: str, connection: Connection) -> None:
        rows = [*products("A", "", "C"), Row(4, {"title": "D"}), Rejection(5, "", "not JSON")]
        report = await import_products(database_url, rows)
        assert (report.read, report.loaded, report.rejected_count) == (5, 2, 3)
        assert [(rejection.line, rejection.field) for rejection in report.rejected] == [
            (2, "title"),
            (4, "id"),
            (5, ""),
        ]
        assert await connection.fetchval("select array_agg(id order by id) from products") == ["1", "3"]

    async def test_importing_again_changes_nothing(self, database_url: str, connection: Connection) -> None:
        await import_products(database_url, products("A", "B"))
        report = await import_products(database_url, products("A", "Other"))
        assert (report.loaded, report.unchanged) == (1, 1)
        assert await connection.fetchval("select count(*) from product_changes") == 3

    @pytest.mark.usefixtures("small_batches")
    async def test_of_equal_ids_the_last_wins_wherever_it_stands(
        self, database_url: str, connection: Connection
    ) -> None:
        rows = [Row(line, {"id": product_id, "title": f"{line}"}) for line, product_id in enumerate("abacaab", start=1)]
        for _ in range(2):
            report = await import_products(database_url, rows)
            assert (report.read, report.duplicates) == (7, 4)
        found = await connection.fetch("select id, title from products order by id")
        assert [tuple(row) for row in found] == [("a", "6"), ("b", "7"), ("c", "4")]
        assert await connection.fetchval("select count(*) from product_changes") == 3

    @pytest.mark.usefixtures("small_batches")
    async def test_progress_is_told_after_each_batch(self, database_url: str) -> None:
        told: list[int] = []
        await import_products(database_url, products(*"ABCDE"), progress=told.append)
        assert told == [2, 4, 5]

    @pytest.mark.usefixtures("small_batches")
    async def test_the_text_index_takes_entries_at_once_again_afterwards(
        self, database_url: str, connection: Connection
    ) -> None:
        """Also where an import of many products was killed: the next one puts it right."""
        options = "select reloptions from pg_class where relname = 'products_search_vector'"
        await import_products(database_url, products("red tea", "green tea", "black tea"))
        assert await connection.fetchval(options) == ["fastupdate=off"]
        await connection.execute("alter index products_search_vector set (fastupdate = on)")
        await import_products(database_url, products("red tea"))
        assert await connection.fetchval(options) == ["fastupdate=off"]

    async def test_a_file_that_is_refused_loads_nothing(
        self, database_url: str, connection: Connection, tmp_path: Path
    ) -> None:
        path = tmp_path / "p.csv"
        path.write_text("id,name\n1,A\n")
        with pytest.raises(ImportRefused):
            await import_products(database_url, read_rows(path, "products", {"title": "titel"}))
        assert await connection.fetchval("select count(*) from products") == 0

    async def test_a_csv_file_is_loaded_with_its_types(
        self, database_url: str, connection: Connection, tmp_path: Path
    ) -> None:
        path = tmp_path / "p.csv"
        path.write_bytes(
            b"sku,name,price,in_stock,created_at,genres,colour\r\n"
            b'007,"A ""B""",12.5,no,1995-01-01,"[""Sci-Fi""]",red\r\n'
            b"008,C,cheap,yes,,,\r\n009,\xff,1,1,,,\r\n"
        )
        report = await import_products(database_url, read_rows(path, "products", {"id": "sku", "title": "name"}))
        assert [(r.line, r.field, r.reason) for r in report.rejected[:1]] == [
            (3, "price", "Input should be a valid number")
        ]
        assert (report.rejected[1].line, report.rejected[1].field) == (4, "title")
        row = await connection.fetchrow(
            "select id, title, price::float8, in_stock, created_at, attributes from products"
        )
        assert row is not None
        assert tuple(row) == (
            "007",
            'A "B"',
            12.5,
            False,
            datetime(1995, 1, 1, tzinfo=UTC),
            '{"colour": "red", "genres": ["Sci-Fi"]}',
        )

    async def test_only_the_first_hundred_rejections_are_kept(self, database_url: str) -> None:
        report = await import_products(database_url, (Rejection(line, "", "bad") for line in range(150)))
        assert (len(report.rejected), report.rejected_count, report.loaded) == (100, 150, 0)

    async def test_a_server_that_is_down_is_unavailable(self) -> None:
        with pytest.raises(DatabaseUnavailable):
            await import_products("postgresql://shortlist@/shortlist?host=/nonexistent&port=5432", products("A"))


class TestImportEvents:
    @pytest.mark.usefixtures("small_batches")
    async def test_importing_again_adds_nothing(self, database_url: str, connection: Connection) -> None:
        rows = [event(line) for line in range(1, 6)]
        first = await import_events(database_url, rows)
        again = await import_events(database_url, rows)
        assert (first.loaded, first.duplicates, again.loaded, again.duplicates) == (5, 0, 0, 5)
        assert await connection.fetchval("select count(*) from events") == 5
        users = await connection.fetch("select id, event_count from users")
        assert [tuple(user) for user in users] == [("u", 5)]

    async def test_the_same_moment_in_another_zone_is_the_same_event(self, database_url: str) -> None:
        rows = [event(1, timestamp="2020-01-01T00:00:00Z"), event(2, timestamp="2020-01-01T01:00:00+01:00")]
        report = await import_events(database_url, rows)
        assert (report.loaded, report.duplicates) == (1, 1)

    @pytest.mark.usefixtures("small_batches")
    async def test_of_equal_ids_the_first_wins(self, database_url: str, connection: Connection) -> None:
        rows = [event(line, id="e", product_id=f"p{line}") for line in (1, 2, 3)]
        report = await import_events(database_url, rows)
        assert (report.loaded, report.duplicates) == (1, 2)
        assert await connection.fetchval("select product_id from events") == "p1"

    async def test_old_months_get_partitions_of_their_own(self, database_url: str, connection: Connection) -> None:
        await import_events(database_url, [event(1)])
        assert await connection.fetchval("select tableoid::regclass::text from events") == "events_1997_09"

    async def test_bad_lines_are_named(self, database_url: str) -> None:
        rows: Iterator[Row] = iter(
            [
                event(1),
                event(2, type="like"),
                event(3, type="rating"),
                Row(4, {"user_id": "u"}),
                event(5, value=float("inf")),
            ]
        )
        report = await import_events(database_url, rows)
        assert report.loaded == 1
        assert [(rejection.line, rejection.field) for rejection in report.rejected] == [
            (2, "type"),
            (3, "value"),
            (4, "product_id"),
            (5, "value"),
        ]


class TestImportUsers:
    async def test_what_is_known_is_kept_up_to_date(self, database_url: str, connection: Connection) -> None:
        rows = [Row(1, {"id": "u", "attributes": {"age": 24}}), Row(2, {"id": "v"}), Row(3, {"id": "v"})]
        first = await import_users(database_url, rows)
        again = await import_users(database_url, [Row(1, {"id": "u", "attributes": {"age": 25}}), rows[1]])
        assert (first.loaded, first.duplicates) == (2, 1)
        assert (again.loaded, again.unchanged) == (1, 1)
        assert await connection.fetchval("select attributes from users where id = 'u'") == '{"age": 25}'
