from __future__ import annotations

import orjson
import pytest

from storage.cache import Cache
from storage.errors import CacheUnavailable
from storage.shelf import Shelf
from tests.small_catalogue import redis_of, stored


def number(raw: bytes) -> int:
    value = orjson.loads(raw)
    if not isinstance(value, int):
        raise ValueError("is no number")  # noqa: TRY004  what a shelf's decoder raises
    return value


def numbers(cache: Cache) -> Shelf[int]:
    return Shelf(cache, "features", ttl_s=60, encode=orjson.dumps, decode=number)


def counts(cache: Cache) -> tuple[int, int, int]:
    counted = cache.stats()["features"]
    return counted.hits, counted.misses, counted.errors


class TestShelf:
    async def test_what_was_written_is_read(self, cache: Cache) -> None:
        shelf = numbers(cache)
        assert await shelf.write({"a": 1, "b": 2})
        assert await shelf.read(["a", "b", "c"]) == {"a": 1, "b": 2}
        assert counts(cache) == (2, 1, 0)

    @pytest.mark.parametrize("garbage", [b"", b"\xff\xfe", b"{", b'"text"', b"[1", b"null"])
    async def test_garbage_is_a_miss_and_is_overwritten(self, cache: Cache, garbage: bytes) -> None:
        shelf = numbers(cache)
        await cache.set_many({"a": garbage}, 60)
        assert await shelf.read(["a"]) == {}
        assert counts(cache) == (0, 1, 0)
        await shelf.write({"a": 1})
        assert await shelf.read(["a"]) == {"a": 1}

    async def test_a_cache_that_is_down_is_counted_and_told_to_readers_only(self) -> None:
        down = Cache("unix:///nonexistent/valkey.sock")
        shelf = numbers(down)
        with pytest.raises(CacheUnavailable):
            await shelf.read(["a"])
        assert not await shelf.write({"a": 1})
        assert counts(down) == (0, 0, 2)

    async def test_without_a_cache_nothing_is_counted(self) -> None:
        cache = Cache(None)
        shelf = numbers(cache)
        assert not await shelf.write({"a": 1})
        assert await shelf.read(["a"]) == {}
        assert counts(cache) == (0, 0, 0)

    async def test_a_value_is_kept_for_its_time(self, cache: Cache) -> None:
        await numbers(cache).write({"a": 1})
        assert 59_000 < await redis_of(cache).pttl(stored(cache, "a")) <= 60_000
