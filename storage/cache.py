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
from storage.key_epoch import EPOCH_KEY, SETTLE, KeyEpoch, stored_key

Result = TypeVar("Result")
Purpose = Literal["results", "features", "popularity", "popular_lists"]

TIMEOUT_S = 0.2
REST_S = 1.0
"""How long a server that let a call time out is left alone: one that hangs costs one call a second, not each."""

PURPOSES: tuple[Purpose, ...] = get_args(Purpose)

# RuntimeError is what uvloop raises on a connection that was closed under it.
_FAILURES = (RedisError, OSError, RuntimeError)

# One command for any number of keys: a pipeline of as many SETs takes six times as long to write. KEYS[1] the epoch's
# key; ARGV: [1] the epoch that the keys begin with, [2] milliseconds. Does nothing in another epoch; returns that in
# force.
_SET_MANY = """
local epoch = redis.call('MGET', KEYS[1])[1]
if epoch == ARGV[1] then
    for i = 2, #KEYS do redis.call('SET', KEYS[i], ARGV[i + 1], 'PX', ARGV[2]) end
end
return epoch
"""


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

    On the server each key begins with an epoch that all processes share (`storage.key_epoch`). Each call shows whether
    it is still in force, with the same round trip: in another one nothing is found and nothing kept.

    The client does not retry: its default would spend seconds on a server that is down.

    Args:
        redis_url: ``unix:///run/dir/valkey.sock``, ``redis://host:6379/0`` or None.
        timeout_s: Most seconds for one call, connecting included.
    """

    def __init__(self, redis_url: str | None, *, timeout_s: float = TIMEOUT_S) -> None:
        self._timeout_s = timeout_s
        self._hangs_until = 0.0
        self._epoch = KeyEpoch()
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

    @property
    def key_epoch(self) -> str | None:
        """The epoch that keys begin with, as last seen; None before the server was asked."""
        return self._epoch.current

    @property
    def epoch_moves(self) -> int:
        """How often this process has seen the epoch move."""
        return self._epoch.moves

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
        return await self._answered(self._read(self._redis, keys))

    async def set_many(self, items: Mapping[str, bytes], ttl_s: float) -> bool:
        """
        Keep each value under its key for *ttl_s* seconds, a millisecond at least, in one round trip.

        Returns whether they are kept, which they are not when another process has just moved the epoch.

        Raises:
            CacheUnavailable: the server is down, refuses (memory full, read-only), or did not answer in time.
        """
        if self._redis is None or not items:
            return False
        return await self._answered(self._write(self._redis, items, max(1, round(ttl_s * 1000))))

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

    async def _read(self, redis: Redis, keys: Sequence[str]) -> list[bytes | None]:
        epoch = await self._epoch_in_force(redis)
        names = [EPOCH_KEY, *(stored_key(epoch, key) for key in keys)]
        seen, *values = cast("list[bytes | None]", await redis.mget(names))
        return values if self._epoch.saw(epoch, seen) else [None] * len(keys)

    async def _write(self, redis: Redis, items: Mapping[str, bytes], ttl_ms: int) -> bool:
        epoch = await self._epoch_in_force(redis)
        keys = [EPOCH_KEY, *(stored_key(epoch, key) for key in items)]
        writing = redis.eval(_SET_MANY, len(keys), *keys, epoch, ttl_ms, *items.values())
        return self._epoch.saw(epoch, await cast("Awaitable[bytes | None]", writing))

    async def _epoch_in_force(self, redis: Redis) -> str:
        """The epoch, which the server is asked for only where it cannot be known."""
        if self._epoch.settled and self._epoch.current is not None:
            return self._epoch.current
        question = self._epoch.question()
        settling = redis.eval(SETTLE, 1, EPOCH_KEY, *question.arguments)
        return self._epoch.answered(question, (await cast("Awaitable[bytes]", settling)).decode())

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
