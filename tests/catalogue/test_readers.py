from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from catalogue import readers
from catalogue.columns import Kind
from catalogue.errors import ImportRefused
from catalogue.readers import Rejection, Row, read_rows


def rows_of(
    path: Path, text: str | bytes, kind: Kind = "products", mapping: dict[str, str] | None = None
) -> list[Row | Rejection]:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return list(read_rows(path, kind, mapping))


class TestJsonLines:
    def test_each_line_is_a_row_and_blank_ones_are_none(self, tmp_path: Path) -> None:
        rows = rows_of(tmp_path / "p.jsonl", '\ufeff{"id": "1"}\r\n\n{"id": "2"}')
        assert rows == [Row(1, {"id": "1"}), Row(3, {"id": "2"})]

    @pytest.mark.parametrize("line", ["{", "[1]", '{"price": NaN}', "{}}"])
    def test_a_malformed_line_is_rejected_and_the_others_stay(self, tmp_path: Path, line: str) -> None:
        first, bad, last = rows_of(tmp_path / "p.ndjson", f'{{"id": "1"}}\n{line}\n{{"id": "3"}}')
        assert (first, last) == (Row(1, {"id": "1"}), Row(3, {"id": "3"}))
        assert isinstance(bad, Rejection)
        assert (bad.line, bad.field) == (2, "")

    def test_what_is_not_utf_8_is_rejected(self, tmp_path: Path) -> None:
        bad = rows_of(tmp_path / "p.jsonl", b'{"id": "\xff"}')[0]
        assert isinstance(bad, Rejection)

    def test_a_line_without_end_is_rejected(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(readers, "MAX_LINE_BYTES", 20)
        rows = rows_of(tmp_path / "p.jsonl", '{"id": "1"}\n{"id": "' + "x" * 100 + '"}\n{"id": "3"}')
        assert rows == [Row(1, {"id": "1"}), Rejection(2, "", "longer than 20 bytes"), Row(3, {"id": "3"})]

    def test_a_json_array_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(ImportRefused, match="one object a line"):
            rows_of(tmp_path / "p.jsonl", '[\n{"id": "1"}]')

    def test_a_mapped_column_that_no_line_has_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(ImportRefused, match=r"no column name\. Its columns: id, title"):
            rows_of(tmp_path / "p.jsonl", '{"id": "1"}\n{"title": "A"}', mapping={"title": "name"})


class TestCsv:
    def test_a_row_counts_from_its_first_line(self, tmp_path: Path) -> None:
        text = '\ufeffid,title\r\n1,"two\r\nlines"\r\n\r\n3,"a ""quoted"" word"\r\n'
        assert rows_of(tmp_path / "p.csv", text) == [
            Row(2, {"id": "1", "title": "two\r\nlines"}),
            Row(5, {"id": "3", "title": 'a "quoted" word'}),
        ]

    def test_too_many_or_too_few_columns_are_rejected(self, tmp_path: Path) -> None:
        rows = rows_of(tmp_path / "p.csv", "id,title\n1\n2,b\n3,c,d\n")
        assert rows == [
            Rejection(2, "", "1 columns, but the header has 2"),
            Row(3, {"id": "2", "title": "b"}),
            Rejection(4, "", "3 columns, but the header has 2"),
        ]

    def test_tabs_separate_in_tsv(self, tmp_path: Path) -> None:
        assert rows_of(tmp_path / "p.tsv", "id\ttitle\n1\ta,b\n") == [Row(2, {"id": "1", "title": "a,b"})]

    def test_what_is_not_utf_8_reaches_validation(self, tmp_path: Path) -> None:
        assert rows_of(tmp_path / "p.csv", b"id,title\n1,\xff\n") == [Row(2, {"id": "1", "title": "\udcff"})]

    @pytest.mark.parametrize(
        ("text", "reason"),
        [("", "must name the columns"), ("id,id\n", "'id' more than once"), ("a\x00b,c\n", "not a text")],
    )
    def test_a_bad_header_is_refused(self, tmp_path: Path, text: str, reason: str) -> None:
        with pytest.raises(ImportRefused, match=reason):
            rows_of(tmp_path / "p.csv", text)

    def test_a_missing_mapped_column_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(ImportRefused, match="no column name"):
            rows_of(tmp_path / "p.csv", "id,title\n1,a\n", mapping={"title": "name"})


class TestParquet:
    def test_rows_are_counted_across_batches(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(readers, "PARQUET_BATCH", 2)
        path = tmp_path / "e.parquet"
        table = pa.table(
            {
                "user": [1, 2, 3],
                "product_id": [7] * 3,
                "type": ["view"] * 3,
                "at": pa.array([0, 1, 1_500_000_000], pa.timestamp("ns")),
            }
        )
        pq.write_table(table, path)
        rows = list(read_rows(path, "events", {"user_id": "user", "timestamp": "at"}))
        assert rows[2] == Row(
            3,
            {
                "user_id": "3",
                "product_id": "7",
                "type": "view",
                "timestamp": datetime(1970, 1, 1, 0, 0, 1, 500_000, tzinfo=UTC),
            },
        )
        assert [row.line for row in rows] == [1, 2, 3]

    def test_another_file_under_its_name_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(ImportRefused, match="cannot be read as parquet"):
            rows_of(tmp_path / "p.parquet", "id,title\n")


class TestReadRows:
    def test_a_missing_file_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(ImportRefused, match="no such file"):
            read_rows(tmp_path / "none.csv", "products")

    def test_an_unknown_format_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(ImportRefused, match=r"unknown format '\.xlsx'; use \.jsonl"):
            rows_of(tmp_path / "p.xlsx", "")

    def test_an_empty_file_of_json_lines_holds_nothing(self, tmp_path: Path) -> None:
        assert rows_of(tmp_path / "p.jsonl", "", mapping={"title": "name"}) == []


class TestUnclosedQuote:
    def test_it_is_named_instead_of_swallowing_what_follows(self, tmp_path: Path) -> None:
        path = tmp_path / "products.csv"
        path.write_text('id,title\na,A\nb,"oops\nc,C\nd,D\n')
        lines = list(read_rows(path, "products", {}))
        assert [line.line for line in lines] == [2, 3]
        assert isinstance(lines[1], Rejection)
        assert "never closed" in lines[1].reason


class TestRequiredFields:
    def test_a_file_without_a_column_for_one_is_refused_at_once(self, tmp_path: Path) -> None:
        path = tmp_path / "products.csv"
        path.write_text("id,name\na,A\n")
        with pytest.raises(ImportRefused, match=r"no column for title\. Map one with --map title=COLUMN"):
            read_rows(path, "products", {})
        assert [type(line) for line in read_rows(path, "products", {"title": "name"})] == [Row]
        assert [type(line) for line in read_rows(path, "products", {"title": "=Nameless"})] == [Row]
