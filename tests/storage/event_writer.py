"""
A process that writes events as ingestion does, to be killed: ``python -m tests.storage.event_writer DATABASE_URL``.

It reads a JSON object a line, ``{"ids": [...], "stop_at": "open" | "committed" | null}``, and answers each with a line:
the event ids it acknowledges, or ``{"error": ...}``. At the place where it is told to stop it says so, and goes on when
it reads another line.
"""

from __future__ import annotations

import asyncio
import json
import sys

from catalogue.events import Event
from catalogue.store import insert_events
from storage.database import Database
from storage.errors import DatabaseUnavailable
from storage.settings import StorageSettings


def say(answer: object) -> None:
    """One line."""
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


async def stop(here: str, *, wanted: str | None) -> None:
    """Wait for a line, if this is where."""
    if here == wanted:
        say({"at": here})
        await asyncio.to_thread(sys.stdin.readline)


async def write(database: Database, event_ids: list[str], stop_at: str | None) -> None:
    """Write the events of one request."""
    events = [Event(id=name, user_id=name[-1], product_id="p", type="view") for name in event_ids]
    try:
        async with database.transaction() as connection:
            await insert_events(connection, events)
            await stop("open", wanted=stop_at)
        await stop("committed", wanted=stop_at)
    except DatabaseUnavailable as error:
        say({"error": str(error)})
    else:
        say({"acknowledged": event_ids})


async def main() -> None:
    """Serve until there is no further line."""
    database = Database(StorageSettings(sys.argv[1]), application="event-writer")
    await database.start()
    say({"at": "start"})
    while line := await asyncio.to_thread(sys.stdin.readline):
        request = json.loads(line)
        await write(database, request["ids"], request["stop_at"])
    await database.close()


if __name__ == "__main__":
    asyncio.run(main())
