"""What goes with putting a version into use: popularity's rows in Postgres."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from artifacts.errors import ArtifactCorrupt
from artifacts.gate import Enter
from artifacts.manifest import ArtifactKind, Manifest
from artifacts.popularity_table import PopularityTable
from catalogue.connections import connected
from cluster.commands.migrate import database_url
from cluster.console import Output
from storage.popularity_rows import put_popularity_in_force


def entry_of(kind: ArtifactKind, output: Output, state_dir: Path | None) -> Enter | None:
    """
    Return what has to happen with the activation of a version of *kind*, or None.

    Raises:
        NotRunning: there is no database for the rows.
    """
    if kind != "popularity":
        return None
    url = database_url(output, state_dir)

    def enter(manifest: Manifest, table: object, activate: Callable[[], None]) -> None:
        assert isinstance(table, PopularityTable)
        asyncio.run(_put(url, manifest, table, activate))

    return enter


async def _put(url: str, manifest: Manifest, table: PopularityTable, activate: Callable[[], None]) -> None:
    half_life_days = manifest.parameters.get("half_life_days")
    if manifest.data_window is None or half_life_days is None:
        raise ArtifactCorrupt(f"popularity {manifest.version} has no data window or half-life. Train popularity again.")
    async with connected(url, "primary") as primary:
        await put_popularity_in_force(
            primary,
            manifest.version,
            table.rows(),
            window_end=manifest.data_window.end,
            half_life_days=half_life_days,
            activate=activate,
        )
