"""Rows to parquet: the same rows give the same bytes, and few are in memory at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

ROWS_A_GROUP = 65_536
WIDE_ROWS_A_GROUP = 16_384
"""Of products, whose texts are long."""
_TIME = pa.timestamp("us", tz="UTC")

PRODUCTS = pa.schema(
    [
        ("id", pa.string()),
        ("title", pa.string()),
        ("description", pa.string()),
        ("category", pa.string()),
        ("brand", pa.string()),
        ("price", pa.decimal128(14, 4)),
        ("currency", pa.string()),
        ("in_stock", pa.bool_()),
        ("hidden", pa.bool_()),
        ("image_url", pa.string()),
        ("attributes", pa.string()),
        ("created_at", _TIME),
        ("updated_at", _TIME),
    ]
)
EVENTS = pa.schema(
    [
        ("id", pa.string()),
        ("user_id", pa.string()),
        ("product_id", pa.string()),
        ("type", pa.string()),
        ("value", pa.float64()),
        ("occurred_at", _TIME),
        ("request_id", pa.string()),
        ("received_at", _TIME),
    ]
)
USERS = pa.schema([("user_id", pa.string()), ("event_count", pa.int64())])


def columns_read(schema: pa.Schema) -> dict[str, pa.DataType]:
    """The columns of *schema* as a query yields them: times as whole microseconds since 1970."""
    return {field.name: pa.int64() if field.type == _TIME else field.type for field in schema}


def write_parquet(
    path: Path,
    batches: Iterable[pa.RecordBatch],
    schema: pa.Schema,
    *,
    seen: Callable[[pa.RecordBatch], None] | None = None,
    rows_a_group: int = ROWS_A_GROUP,
) -> int:
    """
    Write *batches* as one file by row groups of *rows_a_group*; return how many rows those are.

    Args:
        path: A directory above it is made.
        batches: As `columns_read` has them.
        schema: Of the file.
        seen: Called with each row group.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    written = 0
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for group in _groups(batches, rows_a_group):
            converted = pa.record_batch(
                [column.cast(field.type) for column, field in zip(group.columns, schema, strict=True)], schema=schema
            )
            writer.write_batch(converted, row_group_size=rows_a_group)
            written += converted.num_rows
            if seen is not None:
                seen(converted)
    return written


def _groups(batches: Iterable[pa.RecordBatch], rows: int) -> Iterable[pa.RecordBatch]:
    """The same rows in batches of *rows* each, but for the last."""
    waiting: list[pa.RecordBatch] = []
    count = 0
    for batch in batches:
        waiting.append(batch)
        count += batch.num_rows
        while count >= rows:
            together = pa.Table.from_batches(waiting)
            yield from together.slice(0, rows).combine_chunks().to_batches()
            waiting = together.slice(rows).to_batches()
            count -= rows
    if count:
        yield from pa.Table.from_batches(waiting).combine_chunks().to_batches()
