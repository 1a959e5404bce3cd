"""Where the pairs come from: a file, or the catalogue and what users followed up after a search."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as pads
import pyarrow.parquet as pq

from artifacts.product_text import product_text
from storage.settings import StorageSettings
from training.encoder_pairs import Pair, SplitPairs, SplitRule, split_pairs
from training.errors import WrongInput
from training.queries import QUERIES
from training.reading import arrow_batches, reading
from training.snapshot_manifest import PRODUCTS_FILE
from training.snapshot_reading import open_snapshot

_PRODUCT = {name: pa.string() for name in ("product_id", "title", "description", "category", "brand", "attributes")}
_BY_QUERY = {"query": pa.string(), **_PRODUCT}
_ROWS_AT_ONCE = 4_096


@dataclass(frozen=True)
class PairSource:
    """
    What to read; never more of it than a few thousand rows at once.

    Attributes:
        pairs: A parquet file or directory with ``query``, ``document`` and, optionally, ``product_id``. All there is.
        root: The artifact root.
        snapshot: Read products from this one instead of Postgres.
        settings: Read from replicas; None: no database, so no queries of users.
        events: Types that count as a click after a search.
        days: How far to look back for them.
        hours: Within how many they follow the search.
    """

    pairs: str | None
    root: str
    snapshot: str | None
    settings: StorageSettings | None
    events: Sequence[str]
    days: int
    hours: int

    def split(self, rule: SplitRule) -> SplitPairs:
        """
        Return the pairs, split by *rule*.

        Raises:
            WrongInput: the file is not what it must be.
            DatabaseUnavailable: no database answers.
        """
        if self.pairs is not None:
            return split_pairs(_pairs_of_file(self.pairs), rule)
        if self.snapshot is None:
            assert self.settings is not None
            return asyncio.run(self._split_database(self.settings, rule))
        products = open_snapshot(self.root, self.snapshot).directory / PRODUCTS_FILE
        with pq.ParquetFile(products) as file:
            batches = file.iter_batches(_ROWS_AT_ONCE, columns=["id", *list(_PRODUCT)[1:]])
            titles = _title_pairs(batch.rename_columns(list(_PRODUCT)) for batch in batches)
            if self.settings is None:
                return split_pairs(titles, rule)
            return asyncio.run(self._split_with_clicks(titles, self.settings, rule))

    async def _split_database(self, settings: StorageSettings, rule: SplitRule) -> SplitPairs:
        async with (
            reading(settings) as connection,
            arrow_batches(connection, QUERIES["products_to_learn"], columns=_PRODUCT) as products,
            arrow_batches(connection, QUERIES["products_by_query"], *self._clicks, columns=_BY_QUERY) as clicks,
        ):
            return split_pairs(_both(_title_pairs(products), _click_pairs(clicks)), rule)

    async def _split_with_clicks(
        self, titles: Iterator[Pair], settings: StorageSettings, rule: SplitRule
    ) -> SplitPairs:
        async with (
            reading(settings) as connection,
            arrow_batches(connection, QUERIES["products_by_query"], *self._clicks, columns=_BY_QUERY) as clicks,
        ):
            return split_pairs(_both(titles, _click_pairs(clicks)), rule)

    @property
    def _clicks(self) -> tuple[object, ...]:
        return list(self.events), self.days, self.hours


def _both(first: Iterable[Pair], second: Iterable[Pair]) -> Iterator[Pair]:
    yield from first
    yield from second


def _title_pairs(batches: Iterable[pa.RecordBatch]) -> Iterator[Pair]:
    """A product's title, and the rest of what the encoder reads of it."""
    for row in _rows(batches):
        yield Pair("title", row["title"], product_text("", **_fields(row)), row["product_id"])


def _click_pairs(batches: Iterable[pa.RecordBatch]) -> Iterator[Pair]:
    """A query, and all that the encoder reads of a product that was followed up after it."""
    for row in _rows(batches):
        yield Pair("click", row["query"], product_text(row["title"], **_fields(row)), row["product_id"])


def _pairs_of_file(path: str) -> Iterator[Pair]:
    if not Path(path).exists():
        raise WrongInput(f"There is no {path}. Name a parquet file or a directory of such files.")
    try:
        files = pads.dataset(path, format="parquet")
        names = files.schema.names
        if missing := {"query", "document"} - set(names):
            raise WrongInput(f"{path} has no column {' and '.join(sorted(missing))}.")
        columns = [name for name in ("query", "document", "product_id") if name in names]
        for row in _rows(files.to_batches(columns=columns, batch_size=_ROWS_AT_ONCE)):
            query, document = row["query"] or "", row["document"] or ""
            yield Pair("given", query, document, str(row.get("product_id") or sha256(document.encode()).hexdigest()))
    except (OSError, pa.ArrowException, AttributeError) as error:
        raise WrongInput(f"{path} cannot be read as pairs of texts: {error}") from error


def _rows(batches: Iterable[pa.RecordBatch]) -> Iterator[dict[str, Any]]:
    for batch in batches:
        for first in range(0, batch.num_rows, _ROWS_AT_ONCE):
            yield from batch.slice(first, _ROWS_AT_ONCE).to_pylist()


def _fields(row: Mapping[str, str]) -> dict[str, Any]:
    fields: dict[str, Any] = {name: row[name] for name in ("description", "category", "brand")}
    return fields | {"attributes": json.loads(row["attributes"] or "{}")}
