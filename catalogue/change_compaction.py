"""The change feed kept as short as its readers allow."""

from __future__ import annotations

from storage.connection import Connection
from storage.named_queries import QUERIES

BATCH = 10_000


async def compact_changes(connection: Connection, *, older_than_h: int, batch: int = BATCH) -> int:
    """
    Remove records that later ones of the same product supersede, and return how many.

    A reader takes a record as word to look at the product as it is now, so the latest record of a product says all that
    the earlier ones said. Word of a write and word of an embedding are told apart, since a reader may look at less for
    the one than for the other. Only records that every reader's bound has passed count as later, so the feed's last
    position, which versions are named by, never goes back.

    Args:
        connection: The primary, outside a transaction; each batch is one of its own.
        older_than_h: Younger records stay, in whatever number.
        batch: Most records to remove at once.
    """
    await connection.execute(QUERIES["forget_newest_changes"])
    await connection.execute(QUERIES["find_newest_changes"])
    removed = 0
    last = ("0", 0)
    while True:
        row = await connection.fetchrow(QUERIES["remove_superseded_changes"], *last, older_than_h, batch)
        assert row is not None
        removed += int(row["removed"])
        if row["removed"] < batch:
            break
        last = (row["transaction"], row["position"])
    await connection.execute(QUERIES["forget_newest_changes"])
    return removed
