from __future__ import annotations

import asyncio
from datetime import UTC, datetime

from contracts.versions import Versions
from retrieval.epoch import EpochWatcher, read_epoch
from storage.database import Database


async def change(database: Database, statement: str) -> None:
    async with database.transaction() as connection:
        await connection.execute(statement)


class TestReadEpoch:
    async def test_it_stands_still_while_the_catalogue_does(self, database: Database) -> None:
        epoch, source = await read_epoch(database)
        assert source.name == "primary"
        assert (await read_epoch(database))[0] == epoch
        assert (epoch.popularity, epoch.window_end) == ("pop-1", datetime(2026, 1, 11, tzinfo=UTC))

    async def test_a_change_of_a_product_moves_it(self, own_database: Database) -> None:
        before, _ = await read_epoch(own_database)
        await change(own_database, "update products set price = 7 where id = 'p1'")
        after, _ = await read_epoch(own_database)
        assert after.changes != before.changes

    async def test_another_popularity_moves_it(self, own_database: Database) -> None:
        before, _ = await read_epoch(own_database)
        await change(own_database, "update popularity_versions set active = false")
        after, _ = await read_epoch(own_database)
        assert (after.popularity, after.window_end) == (None, None)
        assert after.changes == before.changes


class TestEpochWatcher:
    async def test_it_knows_what_was_changed_without_being_asked(self, own_database: Database) -> None:
        watcher = EpochWatcher(own_database, period_s=0.05)
        await watcher.start()
        before = watcher.current
        assert before is not None
        await change(own_database, "delete from products where id = 'p1'")
        async with asyncio.timeout(20):
            while True:
                if watcher.current != before:
                    break
                await asyncio.sleep(0.01)
        await watcher.stop()
        assert watcher.current == (await read_epoch(own_database))[0]

    async def test_while_the_database_is_down_it_keeps_what_it_knew(self, own_database: Database) -> None:
        watcher = EpochWatcher(own_database)
        await watcher.read()
        known = watcher.current
        assert known is not None
        async with own_database.transaction() as connection:
            await connection.execute("alter table product_changes rename to hidden_changes")
        await watcher.read()
        assert watcher.current == known
        await own_database.close()
        await watcher.read()
        assert watcher.current == known

    async def test_without_a_database_nothing_is_known_and_nothing_raised(self, broken_database: Database) -> None:
        watcher = EpochWatcher(broken_database)
        await watcher.start()
        await watcher.stop()
        assert watcher.current is None
        assert watcher.versions(index="i", cf="c", weights="w") is None

    async def test_versions_are_those_of_an_answer_made_now(self, database: Database) -> None:
        watcher = EpochWatcher(database)
        await watcher.read()
        assert watcher.current is not None
        assert watcher.versions(index="i", cf="c", weights="w", config="g") == Versions(
            index="i",
            changes=watcher.current.changes,
            vocabulary=watcher.current.vocabulary,
            popularity="pop-1",
            cf="c",
            weights="w",
            config="g",
        )
