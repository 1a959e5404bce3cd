from __future__ import annotations

import pytest

from catalogue.events import Event
from catalogue.store import insert_events
from retrieval.user_events import event_count
from storage.database import Database
from storage.errors import DatabaseUnavailable


class TestEventCount:
    async def test_it_moves_with_each_event_and_not_with_a_repeated_one(self, own_database: Database) -> None:
        assert await event_count(own_database, "new", timeout_s=10) == 0
        events = [Event(id=name, user_id="new", product_id="p1", type="view") for name in ("a", "b")]
        for _ in range(2):
            async with own_database.transaction() as connection:
                await insert_events(connection, events)
            assert await event_count(own_database, "new", timeout_s=10) == 2

    async def test_without_a_database_it_is_not_known(self, broken_database: Database) -> None:
        with pytest.raises(DatabaseUnavailable):
            await event_count(broken_database, "new", timeout_s=10)
