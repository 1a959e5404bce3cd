"""A popularity version's rows in Postgres, where retrieval reads them."""

from __future__ import annotations

from artifacts.manifest import Manifest
from artifacts.popularity_table import PopularityTable
from artifacts.store import ArtifactStore
from training.connection import primary
from training.queries import QUERIES

_ONE_AT_A_TIME = "select pg_advisory_xact_lock(hashtext('shortlist.popularity'))"


async def put_into_use(database_url: str, store: ArtifactStore, manifest: Manifest, table: PopularityTable) -> None:
    """
    Replace all of ``product_popularity`` by *table* and activate its version, in one transaction on the primary.

    Where the artifact cannot be activated, the rows stay as they were.
    """
    if manifest.data_window is None:
        raise ValueError(f"popularity {manifest.version} has no data window")
    async with primary(database_url) as connection, connection.transaction():
        await connection.execute(_ONE_AT_A_TIME)
        await connection.execute(QUERIES["begin_popularity"])
        await connection.copy_records_to_table(
            "new_popularity",
            records=zip(table.product_ids, table.popularity.tolist(), table.weighted_count.tolist(), strict=True),
        )
        await connection.execute(QUERIES["remove_forgotten_popularity"])
        await connection.execute(QUERIES["write_popularity"], manifest.version)
        await connection.execute(QUERIES["deactivate_popularity"])
        await connection.execute(
            QUERIES["activate_popularity"],
            manifest.version,
            manifest.data_window.end,
            manifest.parameters["half_life_days"],
        )
        store.activate("popularity", manifest.version)
