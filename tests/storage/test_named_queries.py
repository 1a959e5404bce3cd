from __future__ import annotations

import pytest

from storage.connection import Connection
from storage.errors import QueryUnknown
from storage.named_queries import QUERIES, parse_queries


class TestParseQueries:
    def test_a_query_is_its_statement_without_name_and_description(self) -> None:
        text = "-- name: one\n-- What it is for.\nselect 1;\n\n-- name: two\n-- Another.\nselect 2\nfrom t;\n"
        assert parse_queries(text) == {"one": "select 1;", "two": "select 2\nfrom t;"}

    @pytest.mark.parametrize(
        ("text", "complaint"),
        [
            ("-- name: one\nselect 1;", "needs a description"),
            ("-- name: one\n-- Only words.\n", "no statement"),
            ("-- name: one\n-- A.\nselect 1;\n-- name: one\n-- B.\nselect 2;", "twice"),
        ],
    )
    def test_an_incomplete_query_is_refused(self, text: str, complaint: str) -> None:
        with pytest.raises(ValueError, match=complaint):
            parse_queries(text)


class TestQueries:
    def test_an_unknown_name_is_named(self) -> None:
        with pytest.raises(QueryUnknown, match="no_such_query"):
            QUERIES["no_such_query"]

    async def test_the_server_accepts_every_query(self, connection: Connection) -> None:
        async with connection.transaction():
            for sql in QUERIES.values():
                if sql.startswith("create temporary table"):
                    await connection.execute(sql)
            for sql in QUERIES.values():
                await connection.prepare(sql)
