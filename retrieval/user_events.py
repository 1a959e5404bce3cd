"""How many events a user has: what moves when an answer for this user may."""

from __future__ import annotations

from storage.database import Database


async def event_count(database: Database, user_id: str, *, timeout_s: float) -> int:
    """
    Return how many events of the user were ever accepted, as a read replica sees it; 0 for a user nobody knows.

    Raises:
        DatabaseUnavailable: no database answers within *timeout_s*.
    """
    rows = await database.fetch("user_event_count", user_id, timeout_s=timeout_s)
    return int(rows.records[0]["event_count"]) if rows.records else 0
