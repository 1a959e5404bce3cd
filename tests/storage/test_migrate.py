from __future__ import annotations

import asyncio

import pytest

from storage.connection import Connection
from storage.errors import DatabaseUnavailable, MigrationChanged
from storage.migrate import migrate, migrations


class TestMigrate:
    async def test_an_empty_database_gets_every_migration_in_order(self, empty_database_url: str) -> None:
        assert await migrate(empty_database_url) == [migration.name for migration in migrations()]

    async def test_a_second_run_applies_nothing(self, database_url: str) -> None:
        assert await migrate(database_url) == []

    async def test_two_at_once_apply_each_migration_once(self, empty_database_url: str) -> None:
        first, second = await asyncio.gather(migrate(empty_database_url), migrate(empty_database_url))
        assert sorted([len(first), len(second)]) == [0, len(migrations())]

    async def test_a_migration_edited_after_it_was_applied_is_refused(
        self, database_url: str, connection: Connection
    ) -> None:
        name = migrations()[0].name
        await connection.execute("update schema_migrations set checksum = 'other' where name = $1", name)
        with pytest.raises(MigrationChanged, match=name):
            await migrate(database_url)

    async def test_the_coming_months_have_partitions(self, connection: Connection) -> None:
        assert await connection.fetchval("select ensure_event_partitions(now(), now() + interval '3 months')") == 0

    async def test_a_server_that_is_down_is_unavailable(self) -> None:
        with pytest.raises(DatabaseUnavailable, match="primary"):
            await migrate("postgresql://shortlist@/shortlist?host=/nonexistent&port=5432")
