"""What the cache holds for one purpose: values instead of bytes, and how often they were there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Generic, TypeVar

from storage.cache import Cache, Purpose
from storage.errors import CacheUnavailable

Value = TypeVar("Value")


class Shelf(Generic[Value]):
    """
    Values of one kind in the cache.

    Args:
        cache: Where they are kept.
        purpose: Under which name hits, misses and errors are counted.
        ttl_s: For how many seconds a value is kept.
        encode: A value as bytes.
        decode: The value that bytes are; raises ValueError for bytes that are none.
    """

    def __init__(
        self,
        cache: Cache,
        purpose: Purpose,
        *,
        ttl_s: float,
        encode: Callable[[Value], bytes],
        decode: Callable[[bytes], Value],
    ) -> None:
        self._cache = cache
        self._counts = cache.counts(purpose)
        self._ttl_s = ttl_s
        self._encode = encode
        self._decode = decode

    @property
    def configured(self) -> bool:
        """Whether there is a cache at all; without one nothing is found and nothing kept."""
        return self._cache.configured

    async def read(self, keys: Iterable[str]) -> dict[str, Value]:
        """
        Return the values that are there, by key, in one round trip. What cannot be read is a miss.

        Raises:
            CacheUnavailable: the cache is down, refuses, or did not answer in time.
        """
        if not self.configured:
            return {}
        wanted = list(keys)
        try:
            values = await self._cache.get_many(wanted)
        except CacheUnavailable:
            self._counts.errors += 1
            raise
        found: dict[str, Value] = {}
        for key, raw in zip(wanted, values, strict=True):
            if raw is not None:
                with suppress(ValueError):
                    found[key] = self._decode(raw)
        self._counts.hits += len(found)
        self._counts.misses += len(wanted) - len(found)
        return found

    async def write(self, values: Mapping[str, Value]) -> bool:
        """Keep *values* by key, in one round trip; return whether they were kept. A cache that fails is counted."""
        if not self.configured or not values:
            return False
        try:
            return await self._cache.set_many({key: self._encode(value) for key, value in values.items()}, self._ttl_s)
        except CacheUnavailable:
            self._counts.errors += 1
            return False
