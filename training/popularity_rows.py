"""A popularity version's rows in Postgres, where retrieval reads them."""

from __future__ import annotations

from artifacts.manifest import Manifest
from artifacts.popularity_table import PopularityTable
from artifacts.store import ArtifactStore
from storage.named_queries import QUERIES
from training.connection import primary

_EVERY_CHANGE = 0.0
_COLUMNS = ("product_id", "popularity", "weighted_count")


async def put_into_use(database_url: str, store: ArtifactStore, manifest: Manifest, table: PopularityTable) -> None:
    """
    Make ``product_popularity`` hold just *table* and activate its version, in one transaction on the primary.

    Where the artifact cannot be activated, the rows stay as they were.
    """
    if manifest.data_window is None:
        raise ValueError(f"popularity {manifest.version} has no data window")
    async with primary(database_url) as connection, connection.transaction():
        await connection.execute(QUERIES["lock_popularity"])
        await connection.execute(QUERIES["begin_popularity"])
        await connection.copy_records_to_table(
            "new_popularity",
            records=zip(table.product_ids, table.popularity.tolist(), table.weighted_count.tolist(), strict=True),
            columns=_COLUMNS,
        )
        await connection.execute(QUERIES["remove_forgotten_popularity"])
        await connection.execute(QUERIES["write_popularity"], manifest.version, _EVERY_CHANGE)
        await connection.execute(QUERIES["deactivate_popularity"])
        await connection.execute(
            QUERIES["activate_popularity"],
            manifest.version,
            manifest.data_window.end,
            manifest.parameters["half_life_days"],
        )
        store.activate("popularity", manifest.version)
