from __future__ import annotations

import asyncio
from pathlib import Path

import asyncpg
import pyarrow as pa
import pytest

from storage.errors import DatabaseUnavailable
from storage.settings import StorageSettings
from tests.servers import Servers
from training.reading import arrow_table, reading


def read(
    settings: StorageSettings, query: str, columns: dict[str, pa.DataType], *arguments: object
) -> list[dict[str, object]]:
    async def rows() -> list[dict[str, object]]:
        async with reading(settings) as connection:
            table = await arrow_table(connection, query, *arguments, columns=columns)
        found: list[dict[str, object]] = table.to_pylist()
        return found

    return asyncio.run(rows())


def nowhere(directory: Path) -> str:
    """A DSN at which no server answers."""
    return f"postgresql://nobody@/nothing?host={directory}"


class TestArrowTable:
    def test_any_text_survives_and_null_is_not_empty(self, database_url: str) -> None:
        texts = ['with "quotes"', "new\nline", "", "a,b", "ünï", "null", "\\N", "it's", None]
        query = "select text from unnest($1::text[]) with ordinality as given (text, number) order by number"
        rows = read(StorageSettings(database_url), query, {"text": pa.string()}, texts)
        assert [row["text"] for row in rows] == texts

    def test_no_rows_give_an_empty_table_with_its_columns(self, database_url: str) -> None:
        assert read(StorageSettings(database_url), "select 1 where false", {"one": pa.int64()}) == []


class TestReading:
    def test_a_replica_is_read_before_the_primary(self, servers: Servers) -> None:
        settings = StorageSettings(servers.database_url, servers.replica_urls)
        assert read(settings, "select pg_is_in_recovery() as it", {"it": pa.string()}) == [{"it": "t"}]

    def test_a_replica_that_does_not_answer_is_passed_over(
        self, servers: Servers, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        settings = StorageSettings(servers.database_url, (nowhere(tmp_path), *servers.replica_urls))
        assert read(settings, "select pg_is_in_recovery() as it", {"it": pa.string()}) == [{"it": "t"}]
        assert "replica-1" in capsys.readouterr().out

    def test_the_primary_is_not_read_where_a_replica_is_named(
        self, servers: Servers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("training.reading._WAIT_S", 0.0)
        settings = StorageSettings(servers.database_url, (nowhere(tmp_path),))
        with pytest.raises(DatabaseUnavailable, match="replica-1"):
            read(settings, "select 1 as it", {"it": pa.string()})

    def test_nothing_can_be_written(self, database_url: str) -> None:
        async def write() -> None:
            async with reading(StorageSettings(database_url)) as connection:
                await connection.execute("delete from products")

        with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
            asyncio.run(write())
