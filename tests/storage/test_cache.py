from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest

from cluster.valkey import ValkeyServer
from contracts.deadline import time_left_s, time_limit
from storage.breakers import Breakers
from storage.cache import Cache
from storage.config import BreakerConfig
from storage.errors import CacheShunned, CacheUnavailable
from tests.servers import own_valkey
from tests.small_catalogue import redis_of, stored
from tests.storage.conftest import eventually


async def given_up(cache: Cache) -> None:
    """Ask until the breaker opens."""
    while cache.breaker.state != "open":
        with suppress(CacheUnavailable):
            await cache.get_many(["k"])


@pytest.fixture
async def valkey() -> AsyncIterator[ValkeyServer]:
    """A server that a test may freeze, fill and stop."""
    with own_valkey() as server:
        yield server


class TestCache:
    async def test_values_are_read_back_in_the_order_asked_for(self, cache: Cache) -> None:
        await cache.set_many({"a": b"\x00value", "b": b""}, 60)
        assert await cache.get_many(["b", "never set", "a"]) == [b"", None, b"\x00value"]

    async def test_many_keys_take_one_command(self, cache: Cache) -> None:
        async def commands() -> int:
            return int((await redis_of(cache).info("stats"))["total_commands_processed"])

        await cache.set_many({"k": b"v"}, 60)
        before = await commands()
        await cache.set_many({f"k{number}": b"v" for number in range(1000)}, 60)
        # What a script does inside the server counts as well: 1000 SETs, the epoch, one EVAL, one MGET, one INFO.
        assert len(await cache.get_many([f"k{number}" for number in range(1000)])) == 1000
        assert await commands() - before == 1004

    async def test_a_value_is_gone_after_its_time(self, cache: Cache) -> None:
        await cache.set_many({"brief": b"value"}, 0.001)
        assert await eventually_absent(cache, "brief")

    async def test_every_value_has_its_time(self, cache: Cache) -> None:
        await cache.set_many({"a": b"1", "b": b"2"}, 60)
        left = [await redis_of(cache).pttl(stored(cache, key)) for key in ("a", "b")]
        assert all(59_000 < ms <= 60_000 for ms in left)

    async def test_what_is_no_text_there_is_absent_and_can_be_set(self, cache: Cache) -> None:
        assert await cache.get_many(["k"]) == [None]
        await redis_of(cache).rpush(stored(cache, "k"), "a list")
        assert await cache.get_many(["k"]) == [None]
        await cache.set_many({"k": b"v"}, 60)
        assert await cache.get_many(["k"]) == [b"v"]

    async def test_no_keys_ask_nothing(self) -> None:
        down = Cache("unix:///nonexistent/valkey.sock")
        assert await down.get_many([]) == []
        await down.set_many({}, 60)

    async def test_without_a_url_it_holds_nothing_and_does_not_fail(self) -> None:
        cache = Cache(None)
        await cache.set_many({"k": b"v"}, 60)
        await cache.ping()
        assert await cache.get_many(["k"]) == [None]
        assert not cache.configured

    async def test_a_caller_that_gives_up_leaves_no_answer_for_the_next(self, cache: Cache) -> None:
        await cache.set_many({"mine": b"mine", "yours": b"yours"}, 60)
        for _ in range(20):
            asking = asyncio.create_task(cache.get_many(["yours"]))
            await asyncio.sleep(0)
            asking.cancel()
            assert await cache.get_many(["mine"]) == [b"mine"]


class TestFailures:
    async def test_a_server_that_is_down_fails_at_once(self) -> None:
        cache = Cache("unix:///nonexistent/valkey.sock")
        with pytest.raises(CacheUnavailable, match="go on without it"):
            await cache.get_many(["k"])
        with pytest.raises(CacheUnavailable):
            await cache.set_many({"k": b"v"}, 60)
        with pytest.raises(CacheUnavailable):
            await cache.ping()

    async def test_a_port_that_refuses_fails_at_once(self) -> None:
        cache = Cache("redis://127.0.0.1:1/0")
        with pytest.raises(CacheUnavailable):
            await cache.get_many(["k"])

    async def test_a_frozen_server_fails_in_time_and_recovers(self, valkey: ValkeyServer) -> None:
        assert valkey.process is not None
        cache = Cache(valkey.url)
        os.kill(valkey.process.pid, signal.SIGSTOP)
        for _ in range(2):
            with pytest.raises(CacheUnavailable):
                await cache.get_many(["k"])
        os.kill(valkey.process.pid, signal.SIGCONT)
        patient = Cache(valkey.url, timeout_s=10)
        await patient.set_many({"k": b"v"}, 60)
        assert await patient.get_many(["k"]) == [b"v"]
        await patient.close()
        await cache.close()

    async def test_a_frozen_server_leaves_its_caller_half_of_the_time(self, valkey: ValkeyServer) -> None:
        assert valkey.process is not None
        cache = Cache(valkey.url, timeout_s=60)
        os.kill(valkey.process.pid, signal.SIGSTOP)
        async with time_limit(2):
            with pytest.raises(CacheUnavailable):
                await cache.get_many(["k"])
            left_s = time_left_s()
        os.kill(valkey.process.pid, signal.SIGCONT)
        assert left_s is not None
        assert left_s > 0
        await cache.close()

    async def test_a_server_without_memory_still_answers(self, valkey: ValkeyServer) -> None:
        cache = Cache(valkey.url, timeout_s=10)
        await cache.set_many({"k": b"v"}, 60)
        await redis_of(cache).config_set("maxmemory-policy", "noeviction")
        await redis_of(cache).config_set("maxmemory", "1mb")
        with pytest.raises(CacheUnavailable, match="maxmemory"):
            await cache.set_many({"large": b"v" * 2_000_000, "k": b"newer"}, 60)
        assert await cache.get_many(["k"]) == [b"v"]
        await cache.close()

    async def test_a_read_only_server_still_answers(self, valkey: ValkeyServer) -> None:
        cache = Cache(valkey.url, timeout_s=10)
        await cache.set_many({"k": b"v"}, 60)
        await redis_of(cache).config_set("replica-serve-stale-data", "yes")
        await redis_of(cache).replicaof("127.0.0.1", 1)
        with pytest.raises(CacheUnavailable, match="read only replica"):
            await cache.set_many({"k": b"newer"}, 60)
        assert await cache.get_many(["k"]) == [b"v"]
        await cache.close()

    async def test_a_server_that_comes_back_is_used_again(self, valkey: ValkeyServer) -> None:
        cache = Cache(valkey.url, timeout_s=10)
        await cache.set_many({"k": b"v"}, 60)
        valkey.stop()
        with pytest.raises(CacheUnavailable):
            await cache.get_many(["k"])
        valkey.start()
        valkey.wait_ready()
        assert await cache.get_many(["k"]) == [None]
        await cache.close()


class TestBreaker:
    async def test_a_frozen_server_is_left_alone_after_five_calls(self, valkey: ValkeyServer) -> None:
        assert valkey.process is not None
        cache = Cache(valkey.url)
        os.kill(valkey.process.pid, signal.SIGSTOP)
        for _ in range(5):
            with pytest.raises(CacheUnavailable, match="does not answer"):
                await cache.get_many(["k"])
        with pytest.raises(CacheShunned, match="is left alone"):
            await cache.get_many(["k"])
        with pytest.raises(CacheShunned, match="is left alone"):
            await cache.set_many({"k": b"v"}, 60)
        os.kill(valkey.process.pid, signal.SIGCONT)
        await cache.close()

    async def test_a_server_that_is_down_is_left_alone_after_five_calls(self) -> None:
        cache = Cache("unix:///nonexistent/valkey.sock")
        for _ in range(5):
            with pytest.raises(CacheUnavailable):
                await cache.get_many(["k"])
        assert cache.breaker.status().state == "open"
        await cache.close()

    async def test_it_is_used_again_without_anybody_asking(
        self, valkey: ValkeyServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("storage.cache.PING_PERIOD_S", 0.1)
        cache = Cache(valkey.url, timeout_s=10, breakers=Breakers(BreakerConfig(open_s=0.1)))
        valkey.stop()
        for _ in range(5):
            with pytest.raises(CacheUnavailable):
                await cache.get_many(["k"])
        valkey.start()
        valkey.wait_ready()
        assert await eventually(lambda: cache.breaker.state == "closed")
        assert await cache.get_many(["k"]) == [None]
        await cache.close()

    async def test_whether_it_answers_can_be_asked_at_any_time(self, valkey: ValkeyServer) -> None:
        cache = Cache(valkey.url, timeout_s=10)
        for _ in range(5):
            cache.breaker.admit().failed()
        await cache.ping()
        assert cache.breaker.state == "open"
        await cache.close()

    async def test_a_caller_that_gives_up_is_no_failure(self, valkey: ValkeyServer) -> None:
        assert valkey.process is not None
        cache = Cache(valkey.url, timeout_s=10)
        os.kill(valkey.process.pid, signal.SIGSTOP)
        for _ in range(6):
            asking = asyncio.create_task(cache.get_many(["k"]))
            await asyncio.sleep(0.15)
            asking.cancel()
            await asyncio.wait([asking])
        assert cache.breaker.status().outcomes == 0
        os.kill(valkey.process.pid, signal.SIGCONT)
        await cache.close()

    async def test_a_server_that_refuses_writes_is_still_read(self, valkey: ValkeyServer) -> None:
        cache = Cache(valkey.url, timeout_s=10)
        await redis_of(cache).replicaof("127.0.0.1", 1)
        for _ in range(6):
            with pytest.raises(CacheUnavailable, match="read only replica"):
                await cache.set_many({"k": b"v"}, 60)
        assert cache.breaker.state == "closed"
        await cache.close()


class TestReturn:
    @pytest.mark.parametrize("fault", ["frozen", "killed"])
    async def test_what_was_kept_before_is_not_read_after(
        self, valkey: ValkeyServer, fault: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Frozen, the server still holds everything when it is back."""
        assert valkey.process is not None
        monkeypatch.setattr("storage.cache.PING_PERIOD_S", 0.1)
        rules = BreakerConfig(open_s=0.1, consecutive=2)
        caches = [Cache(valkey.url, timeout_s=1, breakers=Breakers(rules)) for _ in range(3)]
        unaware = Cache(valkey.url, timeout_s=10)
        assert await caches[0].set_many({"k": b"before"}, 600)
        assert [await cache.get_many(["k"]) for cache in [*caches, unaware]] == [[b"before"]] * 4
        before = unaware.key_epoch

        os.kill(valkey.process.pid, signal.SIGSTOP if fault == "frozen" else signal.SIGKILL)
        await asyncio.gather(*(given_up(cache) for cache in caches))
        if fault == "frozen":
            os.kill(valkey.process.pid, signal.SIGCONT)
        else:
            valkey.process.wait()
            valkey.start()
            valkey.wait_ready()
        assert await eventually(lambda: all(cache.breaker.state == "closed" for cache in caches))

        assert [await cache.get_many(["k"]) for cache in caches] == [[None]] * 3
        assert {cache.key_epoch for cache in caches} != {before}
        # One that was not away follows those that were; it may take a call to see that, and one to find its connection.
        for _ in range(3):
            with suppress(CacheUnavailable):
                assert await unaware.get_many(["k"]) == [None]
        assert {cache.key_epoch for cache in [*caches, unaware]} == {caches[0].key_epoch}
        assert await unaware.set_many({"k": b"after"}, 600)
        assert [await cache.get_many(["k"]) for cache in caches] == [[b"after"]] * 3
        for cache in [*caches, unaware]:
            await cache.close()


class TestStats:
    async def test_each_purpose_is_counted_by_itself(self, cache: Cache) -> None:
        cache.counts("features").hits += 2
        assert cache.stats()["features"].hits == 2
        assert cache.stats()["results"].hits == 0

    async def test_what_was_returned_does_not_change(self, cache: Cache) -> None:
        before = cache.stats()
        cache.counts("results").misses += 1
        assert before["results"].misses == 0


async def eventually_absent(cache: Cache, key: str) -> bool:
    async def absent() -> bool:
        return await cache.get_many([key]) == [None]

    deadline = asyncio.get_running_loop().time() + 10
    while not await absent():
        if asyncio.get_running_loop().time() > deadline:
            return False
        await asyncio.sleep(0.005)
    return True
