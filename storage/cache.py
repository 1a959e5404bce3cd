"""Redis (or Valkey) as a cache that may be missing: every failure is quick and of one kind."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Literal, TypeVar, cast, get_args

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeout

from contracts.deadline import time_left_s
from storage.breakers import Breakers
from storage.circuit_breaker import Transition
from storage.errors import CacheShunned, CacheUnavailable
from storage.guard import guarded
from storage.key_epoch import EPOCH_KEY, SETTLE, KeyEpoch, stored_key

Result = TypeVar("Result")
Purpose = Literal["results", "features", "popularity", "popular_lists", "attributes"]

TIMEOUT_S = 0.2
LEAST_S = 0.1
SHARE = 0.5
"""What a call may take of the time that its caller has left, so that something is left for doing without the cache."""
PING_PERIOD_S = 1.0
"""Between two looks at a server whose breaker is half open, so that it closes without traffic too."""

PURPOSES: tuple[Purpose, ...] = get_args(Purpose)

# RuntimeError is what uvloop raises on a connection that was closed under it.
_FAILURES = (RedisError, OSError, RuntimeError)
# A server that refuses a command (no memory, read-only) lives: what it holds can still be read.
_SERVER_FAILURES = (RedisConnectionError, RedisTimeout, OSError, RuntimeError)

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

    The client does not retry: its default would spend seconds on a server that is down. One that keeps failing is
    left alone by the breaker ``redis``.

    Args:
        redis_url: ``unix:///run/dir/valkey.sock``, ``redis://host:6379/0`` or None.
        timeout_s: Most seconds for one call, connecting included. Within a `time_limit` at most half of the time left,
            but 0.1 s at least: a server that cannot answer in that hangs.
        breakers: Those of the process; None: a breaker of its own.

    Attributes:
        breaker: Tells whether the server is asked.
    """

    def __init__(
        self, redis_url: str | None, *, timeout_s: float = TIMEOUT_S, breakers: Breakers | None = None
    ) -> None:
        self._timeout_s = timeout_s
        self.breaker = (breakers or Breakers()).of("redis")
        self.breaker.listen(self._watch)
        self._watching: asyncio.Task[None] | None = None
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
        return await self._asked(self._read(self._redis, keys))

    async def set_many(self, items: Mapping[str, bytes], ttl_s: float) -> bool:
        """
        Keep each value under its key for *ttl_s* seconds, a millisecond at least, in one round trip.

        Returns whether they are kept, which they are not when another process has just moved the epoch.

        Raises:
            CacheUnavailable: the server is down, refuses (memory full, read-only), or did not answer in time.
        """
        if self._redis is None or not items:
            return False
        return await self._asked(self._write(self._redis, items, max(1, round(ttl_s * 1000))))

    async def ping(self) -> None:
        """
        Return if the server answers, or if none is configured; asked whatever the breaker's state is.

        Raises:
            CacheUnavailable: the server is down or did not answer in time.
        """
        if self._redis is None:
            return
        probe = self.breaker.begin_background_probe()
        try:
            await self._answered(cast("Awaitable[object]", self._redis.ping()))
        except CacheUnavailable:
            probe.failed()
            raise
        probe.succeeded()

    async def close(self) -> None:
        """Close every connection."""
        if self._watching is not None:
            self._watching.cancel()
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

    async def _asked(self, command: Awaitable[Result]) -> Result:
        try:
            with guarded(self.breaker, failures=_SERVER_FAILURES, refusal=CacheShunned):
                return await self._in_time(command)
        except CacheShunned:
            if asyncio.iscoroutine(command):
                command.close()
            raise
        except _FAILURES as error:
            raise _unavailable(error) from error

    async def _answered(self, command: Awaitable[Result]) -> Result:
        try:
            return await self._in_time(command)
        except _FAILURES as error:
            raise _unavailable(error) from error

    async def _in_time(self, command: Awaitable[Result]) -> Result:
        left_s = time_left_s()
        timeout_s = self._timeout_s if left_s is None else min(self._timeout_s, max(LEAST_S, left_s * SHARE))
        async with asyncio.timeout(timeout_s):
            return await command

    def _watch(self, change: Transition) -> None:
        if change.after != "open":
            return
        self._epoch.lost()
        if self._watching is None or self._watching.done():
            self._watching = asyncio.create_task(self._wait_for_return(), name="cache-return")

    async def _wait_for_return(self) -> None:
        """Look at the server, once it may be asked again, until its breaker is closed."""
        while self.breaker.state != "closed":
            await asyncio.sleep(max(PING_PERIOD_S, self.breaker.retry_in_s))
            if self.breaker.state == "half_open":
                with suppress(CacheUnavailable):
                    await self.ping()


def _unavailable(error: BaseException) -> CacheUnavailable:
    return CacheUnavailable(f"the cache does not answer ({str(error) or type(error).__name__}); go on without it")
