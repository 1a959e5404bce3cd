"""Rows with their line numbers, from JSON lines, CSV and parquet; no more than a batch of them in memory."""

from __future__ import annotations

import csv
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from catalogue.columns import Columns, Kind
from catalogue.errors import ImportRefused

MAX_LINE_BYTES = 10 * 1024 * 1024
LOOK_AHEAD = 1000
PARQUET_BATCH = 10_000
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Row:
    """The fields found on one line (of parquet: one row), counted from 1; still to be validated."""

    line: int
    fields: dict[str, object]


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why a line was not loaded; *field* is empty where the line as a whole is at fault."""

    line: int
    field: str
    reason: str


@dataclass(frozen=True, slots=True)
class _Line:
    line: int
    values: Mapping[str, object]


def read_rows(path: Path, kind: Kind, mapping: Mapping[str, str] | None = None) -> Iterator[Row | Rejection]:
    """
    Return the rows of *path* as fields of products or events, lines that cannot be parsed as rejections.

    The format goes by the name: ``.jsonl`` or ``.ndjson``, ``.csv`` or ``.tsv``, ``.parquet``.

    Args:
        path: The file.
        kind: What it holds.
        mapping: Column by field, see `Columns`.

    Raises:
        ImportRefused: at once, if the file is missing or of another format, if the mapping names an unknown field, or a
            column that the file (of JSON lines: its first thousand lines) lacks.
    """
    if not path.is_file():
        raise ImportRefused(f"{path}: {'not a file' if path.exists() else 'no such file'}")
    readers: dict[str, Callable[[Path], Iterator[_Line | Rejection]]] = {
        ".jsonl": _json_lines,
        ".ndjson": _json_lines,
        ".csv": lambda path: _delimited(path, ","),
        ".tsv": lambda path: _delimited(path, "\t"),
        ".parquet": _parquet,
    }
    suffix = path.suffix.lower()
    if suffix not in readers:
        raise ImportRefused(f"{path}: unknown format {suffix!r}; use .jsonl, .ndjson, .csv, .tsv or .parquet")
    columns = Columns(kind, mapping, only_strings=suffix in {".csv", ".tsv"})
    lines = readers[suffix](path)
    first = list(itertools.islice(lines, LOOK_AHEAD))
    found = {column: None for line in first if isinstance(line, _Line) for column in line.values}
    if found and (missing := columns.missing_from(found)):
        raise ImportRefused(f"{path}: no column {', '.join(missing)}. Its columns: {', '.join(found)}")
    if found and not _is_json(suffix) and (unfilled := columns.required_without(found)):
        raise ImportRefused(
            f"{path}: no column for {', '.join(unfilled)}. Map one with --map {unfilled[0]}=COLUMN. "
            f"Its columns: {', '.join(found)}"
        )
    return _fields(itertools.chain(first, lines), columns)


def _is_json(suffix: str) -> bool:
    """Whether each line names its own fields, so that one may lack what the next one has."""
    return suffix in {".jsonl", ".ndjson"}


def _fields(lines: Iterable[_Line | Rejection], columns: Columns) -> Iterator[Row | Rejection]:
    for line in lines:
        yield Row(line.line, columns.fields(line.values)) if isinstance(line, _Line) else line


def _json_lines(path: Path) -> Iterator[_Line | Rejection]:
    with path.open("rb") as file:
        started = False
        for number, text in _lines(file):
            if text is None:
                yield Rejection(number, "", f"longer than {MAX_LINE_BYTES} bytes")
                continue
            if not text:
                continue
            if not started and not text.startswith(b"{"):
                raise ImportRefused(f"{path}: line {number} does not start a JSON object; write one object a line")
            started = True
            yield _json_object(number, text)


def _json_object(number: int, text: bytes) -> _Line | Rejection:
    try:
        values = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        return Rejection(number, "", f"not JSON ({error})")
    return _Line(number, values) if isinstance(values, dict) else Rejection(number, "", "not a JSON object")


def _lines(file: BinaryIO) -> Iterator[tuple[int, bytes | None]]:
    """Number and text of each line, without white space around it; None for one that is too long."""
    for number in itertools.count(1):
        text = file.readline(MAX_LINE_BYTES + 1)
        if not text:
            return
        if number == 1:
            text = text.removeprefix(_BYTE_ORDER_MARK)
        too_long = len(text) > MAX_LINE_BYTES
        while too_long and text and not text.endswith(b"\n"):
            text = file.readline(MAX_LINE_BYTES)
        yield number, None if too_long else text.strip()


def _delimited(path: Path, delimiter: str) -> Iterator[_Line | Rejection]:
    # What is not UTF-8 becomes surrogates, which validation refuses by the name of the field.
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        csv.field_size_limit(MAX_LINE_BYTES)
        # Strict, since otherwise a quote that nobody closes swallows the rest of the file in silence.
        records = csv.reader(file, delimiter=delimiter, strict=True)
        header = _header(path, records)
        while True:
            number = records.line_num + 1
            try:
                record = next(records)
            except StopIteration:
                return
            except csv.Error as error:
                unclosed = "unexpected end of data" in str(error)
                reason = "a quote opened here is never closed; what follows was not read" if unclosed else str(error)
                yield Rejection(number, "", f"not CSV ({reason})")
                continue
            if len(record) == len(header):
                yield _Line(number, dict(zip(header, record, strict=True)))
            elif record:
                yield Rejection(number, "", f"{len(record)} columns, but the header has {len(header)}")


def _header(path: Path, records: Iterator[list[str]]) -> list[str]:
    try:
        header = [name.strip() for name in next(records, [])]
    except csv.Error as error:
        raise ImportRefused(f"{path}: not CSV ({error})") from error
    if not any(header):
        raise ImportRefused(f"{path}: the first line must name the columns")
    if any("\x00" in name for name in header):
        raise ImportRefused(f"{path}: not a text file")
    if twice := sorted({name for name in header if header.count(name) > 1}):
        raise ImportRefused(f"{path}: the first line names {', '.join(map(repr, twice))} more than once")
    return header


def _parquet(path: Path) -> Iterator[_Line | Rejection]:
    try:
        with pq.ParquetFile(path) as file:
            first = 1
            for batch in file.iter_batches(PARQUET_BATCH):
                columns = [_in_microseconds(column).to_pylist() for column in batch.columns]
                for offset, record in enumerate(zip(*columns, strict=True)):
                    yield _Line(first + offset, dict(zip(batch.schema.names, record, strict=True)))
                first += batch.num_rows
    except (pa.ArrowException, OSError) as error:
        raise ImportRefused(f"{path}: cannot be read as parquet ({error})") from error


def _in_microseconds(column: pa.Array) -> pa.Array:
    """Python's times have no nanoseconds."""
    if pa.types.is_timestamp(column.type):
        return column.cast(pa.timestamp("us", column.type.tz), safe=False)
    return column
