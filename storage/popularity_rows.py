"""A version of popularity as the rows that retrieval reads."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime

from storage.connection import Connection
from storage.named_queries import QUERIES

_EVERY_CHANGE = 0.0
_COLUMNS = ("product_id", "popularity", "weighted_count")


async def put_popularity_in_force(
    primary: Connection,
    version: str,
    rows: Iterable[tuple[str, float, float]],
    *,
    window_end: datetime,
    half_life_days: float,
    activate: Callable[[], None],
) -> None:
    """
    Make ``product_popularity`` hold just *rows* and put *version* in force, in one transaction.

    Args:
        primary: A connection to it.
        version: What the rows are of.
        rows: Product id, popularity in [0, 1], weighted count.
        window_end: The end of the data window that was counted.
        half_life_days: The half-life that recounts go by from now on.
        activate: Called before the transaction is committed; where it raises, everything stays as it was.
    """
    async with primary.transaction():
        await primary.execute(QUERIES["lock_popularity"])
        await primary.execute(QUERIES["begin_popularity"])
        await primary.copy_records_to_table("new_popularity", records=rows, columns=_COLUMNS)
        await primary.execute(QUERIES["remove_forgotten_popularity"])
        await primary.execute(QUERIES["write_popularity"], version, _EVERY_CHANGE)
        await primary.execute(QUERIES["deactivate_popularity"])
        await primary.execute(QUERIES["activate_popularity"], version, window_end, half_life_days)
        activate()
