from __future__ import annotations

import asyncio

import pytest

from storage.primary_session import primary_session
from tests.servers import Servers
from tests.storage.test_hosts import several


class TestPrimarySession:
    async def test_of_several_hosts_it_is_on_the_primary(self, servers: Servers) -> None:
        url = several(servers.replica_urls[0], servers.database_url)
        async with primary_session(url, application="tests") as session:
            await session.look_for_another()
            rows = await session.fetch("primary_timeline")
        assert (rows.source.name, len(rows.records)) == ("primary", 1)

    async def test_it_ends_when_another_host_is_the_primary(self, servers: Servers) -> None:
        """One that was replaced and does not know may go on answering."""
        url = several(servers.replica_urls[0], servers.database_url)
        async with primary_session(url, application="tests") as session:
            session._hosts._last = session._hosts._current = servers.replica_urls[0]
            session._hosts._surveyed_at = float("-inf")
            with pytest.raises(ConnectionError, match="another host is the primary now"):
                await session.look_for_another()

    async def test_a_query_that_takes_too_long_ends_it(self, database_url: str) -> None:
        async with primary_session(database_url, application="tests") as holder:
            await holder.fetch("lead_embedding")
            with pytest.raises(TimeoutError):
                await holder.fetch("lead_embedding", timeout_s=1e-6)

    async def test_what_it_holds_is_free_once_it_ended(self, database_url: str) -> None:
        for _ in range(2):
            async with primary_session(database_url, application="tests") as session:
                async with asyncio.timeout(20):
                    while not (await session.fetch("lead_embedding")).records[0]["leading"]:  # noqa: ASYNC110
                        await asyncio.sleep(0.02)
