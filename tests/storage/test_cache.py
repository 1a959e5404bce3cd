from __future__ import annotations

import os
import signal
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cluster.valkey import ValkeyServer
from storage.cache import Cache
from storage.errors import CacheUnavailable
from tests.servers import Servers


@pytest.fixture
async def cache(servers: Servers) -> AsyncIterator[Cache]:
    cache = Cache(servers.redis_url)
    yield cache
    await cache.close()


class TestCache:
    async def test_a_value_is_read_back(self, cache: Cache) -> None:
        await cache.set("test:kept", b"\x00value", 60)
        assert await cache.get("test:kept") == b"\x00value"

    async def test_a_key_never_set_is_absent(self, cache: Cache) -> None:
        assert await cache.get("test:absent") is None

    async def test_a_value_is_gone_after_its_time(self, cache: Cache) -> None:
        await cache.set("test:brief", b"value", 0.001)
        deadline = time.monotonic() + 5
        while await cache.get("test:brief") is not None:
            assert time.monotonic() < deadline

    async def test_without_a_url_it_holds_nothing_and_does_not_fail(self) -> None:
        cache = Cache(None)
        await cache.set("k", b"v", 60)
        await cache.ping()
        assert await cache.get("k") is None
        assert not cache.configured

    async def test_a_server_that_is_down_fails_at_once(self) -> None:
        cache = Cache("unix:///nonexistent/valkey.sock")
        with pytest.raises(CacheUnavailable, match="go on without it"):
            await cache.get("k")
        with pytest.raises(CacheUnavailable):
            await cache.set("k", b"v", 60)
        with pytest.raises(CacheUnavailable):
            await cache.ping()

    async def test_a_frozen_server_fails_in_time_and_recovers(self) -> None:
        with tempfile.TemporaryDirectory(prefix="shortlist-valkey-", dir="/tmp") as name:
            directory = Path(name)
            server = ValkeyServer(path=directory / "s.sock", directory=directory, log=directory / "log")
            server.start()
            server.wait_ready()
            assert server.process is not None
            cache = Cache(server.url)
            await cache.set("k", b"v", 60)
            os.kill(server.process.pid, signal.SIGSTOP)
            with pytest.raises(CacheUnavailable):
                await cache.get("k")
            os.kill(server.process.pid, signal.SIGCONT)
            assert await cache.get("k") == b"v"
            await cache.close()
            server.stop()
