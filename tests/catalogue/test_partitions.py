from __future__ import annotations

from datetime import UTC, datetime

import asyncpg
import pytest

from catalogue import partitions
from catalogue.errors import EventsBusy
from catalogue.events import Event
from catalogue.partitions import DetachedMonth, detach_older_than, make_months_ahead
from catalogue.store import insert_events
from storage.connection import Connection

OLD = datetime(2020, 5, 17, tzinfo=UTC)


async def add(connection: Connection, *moments: datetime, first: int = 0) -> int:
    events = [
        Event(id=f"e{number}", user_id="u", product_id="p", type="view", timestamp=moment)
        for number, moment in enumerate(moments, start=first)
    ]
    return (await insert_events(connection, events)).accepted


async def rows_in(connection: Connection, table: str) -> int:
    return int(await connection.fetchval(f"select count(*) from {table}"))  # noqa: S608 - a name of this test


class TestMakeMonthsAhead:
    async def test_this_month_and_those_to_come_are_made_once(self, connection: Connection) -> None:
        assert [await make_months_ahead(connection, 5), await make_months_ahead(connection, 5)] == [2, 0]

    async def test_it_gives_up_where_events_stay_locked(
        self, connection: Connection, database_url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(partitions, "LOCK_TIMEOUT_MS", 1)
        monkeypatch.setattr(partitions, "PAUSE_S", 0.0)
        reader = await asyncpg.connect(database_url)
        try:
            async with reader.transaction():
                await reader.execute("select from events_default")
                with pytest.raises(EventsBusy):
                    await make_months_ahead(connection, 5)
        finally:
            await reader.close()
        assert await make_months_ahead(connection, 5) == 2


class TestDetachOlderThan:
    async def test_only_months_that_are_old_altogether_go(self, connection: Connection) -> None:
        await connection.execute("select ensure_event_partitions('2020-04-01', '2020-05-31')")
        await add(connection, OLD, datetime(2020, 4, 2, tzinfo=UTC), datetime.now(UTC))
        assert await detach_older_than(connection, 12) == [
            DetachedMonth("events_2020_04", 0),
            DetachedMonth("events_2020_05", 0),
        ]
        assert [await rows_in(connection, name) for name in ("events", "events_2020_04", "events_2020_05")] == [1, 1, 1]
        assert await detach_older_than(connection, 12) == []

    async def test_the_present_month_and_the_one_before_stay_within_a_month(self, connection: Connection) -> None:
        await connection.execute("select ensure_event_partitions(now() - interval '2 months', now())")
        gone = await detach_older_than(connection, 1)
        kept = await connection.fetchval(
            "select to_regclass('events_' || to_char(now() at time zone 'UTC' - interval '1 month', 'YYYY_MM'))"
            " in (select inhrelid from pg_inherits where inhparent = 'events'::regclass)"
        )
        assert (len(gone), kept) == (1, True)

    async def test_old_events_without_a_month_of_their_own_go_too(self, connection: Connection) -> None:
        await add(connection, OLD, OLD, datetime(2020, 7, 1, tzinfo=UTC))
        assert await detach_older_than(connection, 12) == [
            DetachedMonth("events_2020_05", 2),
            DetachedMonth("events_2020_07", 1),
        ]
        assert await rows_in(connection, "events") == 0

    async def test_late_events_of_a_detached_month_are_accepted_and_follow_it(self, connection: Connection) -> None:
        await add(connection, OLD)
        await detach_older_than(connection, 12)
        assert await add(connection, OLD, OLD) == 1, "the first is known although it is detached"
        assert await rows_in(connection, "events_default") == 1
        assert await detach_older_than(connection, 12) == [DetachedMonth("events_2020_05", 1)]
        assert await rows_in(connection, "events_2020_05") == 2

    async def test_a_detached_month_can_be_put_back(self, connection: Connection) -> None:
        await add(connection, OLD)
        await detach_older_than(connection, 12)
        await add(connection, OLD, first=5)
        attach = "select attach_event_partition('2020-05-01')"
        assert [await connection.fetchval(attach), await connection.fetchval(attach)] == [True, False]
        rows = await connection.fetch("select id, tableoid::regclass::text as place from events order by id")
        assert [tuple(row) for row in rows] == [("e0", "events_2020_05"), ("e5", "events_2020_05")]
