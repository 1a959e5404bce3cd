"""Redis (or Valkey) as a cache that may be missing: every failure is quick and of one kind."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeVar, cast, get_args

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeout

from storage.errors import CacheUnavailable

Result = TypeVar("Result")
Purpose = Literal["results", "features", "popularity", "popular_lists"]

TIMEOUT_S = 0.2
REST_S = 1.0
"""How long a server that let a call time out is left alone: one that hangs costs one call a second, not each."""

PURPOSES: tuple[Purpose, ...] = get_args(Purpose)

# RuntimeError is what uvloop raises on a connection that was closed under it.
_FAILURES = (RedisError, OSError, RuntimeError)

# One command for any number of keys: a pipeline of as many SETs takes six times as long to write.
_SET_MANY = "for i, key in ipairs(KEYS) do redis.call('SET', key, ARGV[i + 1], 'PX', ARGV[1]) end"


@dataclass(slots=True)
class CacheCounts:
    """
    How the cache served one purpose since the process began.

    Attributes:
        hits: Values that were there and sound.
        misses: Keys without a value, or with one that could not be read as what it should be.
        errors: Calls that failed or took too long.
    """

    hits: int = 0
    misses: int = 0
    errors: int = 0


class Cache:
    """
    Bytes by key, for a limited time. Without a URL it holds nothing and never fails.

    The client does not retry: its default would spend seconds on a server that is down.

    Args:
        redis_url: ``unix:///run/dir/valkey.sock``, ``redis://host:6379/0`` or None.
        timeout_s: Most seconds for one call, connecting included.
    """

    def __init__(self, redis_url: str | None, *, timeout_s: float = TIMEOUT_S) -> None:
        self._timeout_s = timeout_s
        self._hangs_until = 0.0
        self._counts = {purpose: CacheCounts() for purpose in PURPOSES}
        self._redis = (
            Redis.from_url(
                redis_url,
                retry=Retry(NoBackoff(), 0),
                socket_timeout=timeout_s,
                socket_connect_timeout=timeout_s,
            )
            if redis_url
            else None
        )

    @property
    def configured(self) -> bool:
        """Whether there is a cache to talk to."""
        return self._redis is not None

    def counts(self, purpose: Purpose) -> CacheCounts:
        """The counts of *purpose*, for whoever serves it to add to."""
        return self._counts[purpose]

    def stats(self) -> dict[Purpose, CacheCounts]:
        """Return how the cache has served each purpose so far."""
        return {purpose: replace(counts) for purpose, counts in self._counts.items()}

    async def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        """
        Return the value of each key in one round trip, None for one that is absent or expired.

        Raises:
            CacheUnavailable: the server is down, refuses, or did not answer in time.
        """
        if self._redis is None or not keys:
            return [None] * len(keys)
        return cast("list[bytes | None]", await self._answered(self._redis.mget(keys)))

    async def set_many(self, items: Mapping[str, bytes], ttl_s: float) -> None:
        """
        Keep each value under its key for *ttl_s* seconds, a millisecond at least, in one round trip.

        Raises:
            CacheUnavailable: the server is down, refuses (memory full, read-only), or did not answer in time.
        """
        if self._redis is None or not items:
            return
        ttl_ms = max(1, round(ttl_s * 1000))
        await self._answered(
            cast("Awaitable[object]", self._redis.eval(_SET_MANY, len(items), *items, ttl_ms, *items.values()))
        )

    async def ping(self) -> None:
        """
        Return if the server answers, or if none is configured.

        Raises:
            CacheUnavailable: the server is down or did not answer in time.
        """
        if self._redis is not None:
            await self._answered(cast("Awaitable[object]", self._redis.ping()))

    async def close(self) -> None:
        """Close every connection."""
        if self._redis is not None:
            await self._redis.aclose()

    async def _answered(self, command: Awaitable[Result]) -> Result:
        if time.monotonic() < self._hangs_until:
            if asyncio.iscoroutine(command):
                command.close()
            raise CacheUnavailable("the cache did not answer a moment ago; go on without it")
        try:
            async with asyncio.timeout(self._timeout_s):
                return await command
        except _FAILURES as error:
            if isinstance(error, TimeoutError | RedisTimeout):
                self._hangs_until = time.monotonic() + REST_S
            problem = str(error) or type(error).__name__
            raise CacheUnavailable(f"the cache does not answer ({problem}); go on without it") from error
