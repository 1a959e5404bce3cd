from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import asyncpg
import pytest

from storage.hosts import Hosts, Role, host_urls
from tests.directories import short_directory
from tests.servers import Servers


@contextmanager
def hanging_server() -> Iterator[Path]:
    """The directory of a socket at which somebody takes connections and never answers."""
    with short_directory("shortlist-hang-") as directory, socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(directory / ".s.PGSQL.5432"))
        listener.listen(100)
        yield directory


def several(*urls: str) -> str:
    """One DSN of the hosts of *urls*, which name the same database."""
    parts = [url.partition("?host=") for url in urls]
    places = [place.split("&port=") for _, _, place in parts]
    return f"{parts[0][0]}?host={','.join(place[0] for place in places)}&port={','.join(place[1] for place in places)}"


@asynccontextmanager
async def hosts_of(url: str, role: Role = "primary") -> AsyncIterator[tuple[Hosts, list[str]]]:
    switches: list[str] = []
    hosts = Hosts(url, role=role, timeout_s=60, on_switch=lambda: switches.append("switched"))
    yield hosts, switches
    hosts.close()


class TestHostUrls:
    def test_hosts_before_the_path(self) -> None:
        expected = ["postgresql://me:pw@a:1/db?x=1", "postgresql://me:pw@b:2/db?x=1"]
        assert host_urls("postgresql://me:pw@a:1,b:2/db?x=1") == expected

    def test_hosts_among_the_options(self) -> None:
        expected = ["postgresql://me@/db?host=/run/a&port=1", "postgresql://me@/db?host=/run/b&port=2"]
        assert host_urls("postgresql://me@/db?host=/run/a,/run/b&port=1,2") == expected

    def test_one_port_stands_for_all_hosts(self) -> None:
        expected = ["postgresql://me@/db?host=a&port=1", "postgresql://me@/db?host=b&port=1"]
        assert host_urls("postgresql://me@/db?host=a,b&port=1") == expected

    def test_a_single_host_and_none_at_all_are_one(self) -> None:
        assert host_urls("postgresql://me@a/db") == ["postgresql://me@a/db"]
        assert host_urls("postgresql:///db") == ["postgresql:///db"]

    def test_ports_that_do_not_match_the_hosts_are_refused(self) -> None:
        with pytest.raises(ValueError, match="3 hosts, but 2 ports"):
            host_urls("postgresql:///db?host=a,b,c&port=1,2")


class TestHosts:
    async def test_the_primary_is_found_wherever_it_stands(self, servers: Servers) -> None:
        url = several(servers.replica_urls[0], servers.database_url)
        async with hosts_of(url) as (hosts, switches):
            connection = await hosts.connect()
            assert not await connection.fetchval("select pg_is_in_recovery()")
            await connection.close()
        assert switches == []

    async def test_the_first_that_follows_a_primary_is_the_replica(self, servers: Servers) -> None:
        url = several(servers.database_url, servers.replica_urls[0])
        async with hosts_of(url, "replica") as (hosts, _):
            connection = await hosts.connect()
            assert await connection.fetchval("select pg_is_in_recovery()")
            await connection.close()
            assert await hosts.find() == servers.replica_urls[0]

    async def test_the_primary_is_no_replica(self, servers: Servers) -> None:
        async with hosts_of(several(servers.database_url, servers.database_url), "replica") as (hosts, _):
            with pytest.raises(asyncpg.TargetServerAttributeNotMatched, match="none of the 2 hosts is a replica"):
                await hosts.connect()

    async def test_a_host_that_hangs_or_is_not_there_delays_nobody(self, servers: Servers) -> None:
        with hanging_server() as directory:
            hanging = f"postgresql://shortlist@/shortlist?host={directory}&port=5432"
            absent = "postgresql://shortlist@/shortlist?host=/nonexistent&port=5432"
            async with hosts_of(several(hanging, absent, servers.database_url)) as (hosts, _):
                # A wait for the host that hangs would take its whole minute.
                connection = await asyncio.wait_for(hosts.connect(), 30)
                await connection.close()

    async def test_where_none_is_a_primary_each_says_why(self, servers: Servers) -> None:
        absent = "postgresql://shortlist@/shortlist?host=/nonexistent&port=5432"
        async with hosts_of(several(servers.replica_urls[0], absent)) as (hosts, _):
            with pytest.raises(asyncpg.TargetServerAttributeNotMatched, match=r"none of the 2 hosts .*No such file"):
                await hosts.connect()

    async def test_a_primary_on_an_older_timeline_than_was_seen_is_not_followed(self, servers: Servers) -> None:
        async with hosts_of(several(servers.replica_urls[0], servers.database_url)) as (hosts, _):
            hosts.timeline = 7
            with pytest.raises(asyncpg.TargetServerAttributeNotMatched, match="still on timeline 1, where 7 was seen"):
                await hosts.connect()

    async def test_callers_at_once_share_the_search(self, servers: Servers) -> None:
        async with hosts_of(several(servers.replica_urls[0], servers.database_url)) as (hosts, _):
            found = await asyncio.gather(*(hosts.find() for _ in range(20)))
        assert set(found) == {servers.database_url}

    async def test_a_single_host_is_taken_as_it_is(self, servers: Servers) -> None:
        async with hosts_of(servers.replica_urls[0]) as (hosts, _):
            connection = await hosts.connect()
            assert await connection.fetchval("select pg_is_in_recovery()")
            await connection.close()
