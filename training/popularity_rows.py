"""A popularity version's rows in Postgres, where retrieval reads them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from artifacts.manifest import Manifest
from artifacts.popularity_table import PopularityTable
from storage.popularity_rows import put_popularity_in_force
from training.connection import primary


def with_rows(database_url: str) -> Callable[[Manifest, object, Callable[[], None]], None]:
    """Return what puts a version's rows on the primary at *database_url* and activates it: both, or neither."""

    def enter(manifest: Manifest, table: object, activate: Callable[[], None]) -> None:
        assert isinstance(table, PopularityTable)
        asyncio.run(_put(database_url, manifest, table, activate))

    return enter


async def _put(database_url: str, manifest: Manifest, table: PopularityTable, activate: Callable[[], None]) -> None:
    if manifest.data_window is None:
        raise ValueError(f"popularity {manifest.version} has no data window")
    async with primary(database_url) as connection:
        await put_popularity_in_force(
            connection,
            manifest.version,
            table.rows(),
            window_end=manifest.data_window.end,
            half_life_days=manifest.parameters["half_life_days"],
            activate=activate,
        )
