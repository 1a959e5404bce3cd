"""The popularity of every product that anybody cared for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from artifacts.errors import ArtifactCorrupt

_FILE = "popularity.parquet"
_SCHEMA = pa.schema([("product_id", pa.string()), ("popularity", pa.float32()), ("weighted_count", pa.float64())])


@dataclass(frozen=True)
class PopularityTable:
    """Three columns of equal length: product ids, popularity in [0, 1], and the decayed, weighted count behind it."""

    product_ids: list[str]
    popularity: NDArray[np.float32]
    weighted_count: NDArray[np.float64]

    def save(self, directory: Path) -> None:
        """Write the table's file into *directory*."""
        columns = [pa.array(self.product_ids, pa.string()), pa.array(self.popularity), pa.array(self.weighted_count)]
        pq.write_table(pa.table(columns, schema=_SCHEMA), directory / _FILE)

    def rows(self) -> Iterator[tuple[str, float, float]]:
        """Each product's id, popularity and weighted count."""
        return zip(self.product_ids, self.popularity.tolist(), self.weighted_count.tolist(), strict=True)

    @classmethod
    def load(cls, directory: Path) -> PopularityTable:
        """
        Read what `save` wrote.

        Raises:
            ArtifactCorrupt: the file cannot be read, or holds what no count gives.
        """
        try:
            table = pq.read_table(directory / _FILE, schema=_SCHEMA)
        except (OSError, ValueError, pa.ArrowException) as error:
            raise ArtifactCorrupt(f"{directory / _FILE} cannot be read: {error}. Train popularity again.") from error
        loaded = cls(
            product_ids=table["product_id"].to_pylist(),
            popularity=table["popularity"].to_numpy(),
            weighted_count=table["weighted_count"].to_numpy(),
        )
        if problem := loaded._problem():
            raise ArtifactCorrupt(f"{directory / _FILE}: {problem}. Train popularity again.")
        return loaded

    def _problem(self) -> str | None:
        if None in self.product_ids:
            return "a product has no id"
        if len(set(self.product_ids)) != len(self.product_ids):
            return "a product appears twice"
        if not ((self.popularity >= 0) & (self.popularity <= 1)).all():
            return "a popularity is not between 0 and 1"
        if not (np.isfinite(self.weighted_count) & (self.weighted_count >= 0)).all():
            return "a count is negative or not finite"
        return None
