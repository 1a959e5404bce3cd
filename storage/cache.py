"""Redis (or Valkey) as a cache that may be missing: every failure is quick and of one kind."""

from __future__ import annotations

from typing import cast

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from storage.errors import CacheUnavailable

TIMEOUT_S = 0.2


class Cache:
    """
    Bytes by key, for a limited time. Without a URL it holds nothing and never fails.

    The client does not retry: its default would spend seconds on a server that is down.

    Args:
        redis_url: ``unix:///run/dir/valkey.sock``, ``redis://host:6379/0`` or None.
    """

    def __init__(self, redis_url: str | None) -> None:
        self._redis = (
            Redis.from_url(
                redis_url,
                retry=Retry(NoBackoff(), 0),
                socket_timeout=TIMEOUT_S,
                socket_connect_timeout=TIMEOUT_S,
            )
            if redis_url
            else None
        )

    @property
    def configured(self) -> bool:
        """Whether there is a cache to talk to."""
        return self._redis is not None

    async def get(self, key: str) -> bytes | None:
        """
        Return the value of *key*, or None when it is absent or expired.

        Raises:
            CacheUnavailable: the server is down or did not answer within 0.2 s.
        """
        if self._redis is None:
            return None
        try:
            return cast("bytes | None", await self._redis.get(key))
        except (RedisError, OSError) as error:
            raise _unavailable(error) from error

    async def set(self, key: str, value: bytes, ttl_s: float) -> None:
        """
        Keep *value* under *key* for *ttl_s* seconds, a millisecond at least.

        Raises:
            CacheUnavailable: the server is down or did not answer within 0.2 s.
        """
        if self._redis is None:
            return
        try:
            await self._redis.set(key, value, px=max(1, round(ttl_s * 1000)))
        except (RedisError, OSError) as error:
            raise _unavailable(error) from error

    async def ping(self) -> None:
        """
        Return if the server answers, or if none is configured.

        Raises:
            CacheUnavailable: the server is down or did not answer within 0.2 s.
        """
        if self._redis is None:
            return
        try:
            await self._redis.ping()
        except (RedisError, OSError) as error:
            raise _unavailable(error) from error

    async def close(self) -> None:
        """Close every connection."""
        if self._redis is not None:
            await self._redis.aclose()


def _unavailable(error: Exception) -> CacheUnavailable:
    return CacheUnavailable(f"the cache does not answer ({error or type(error).__name__}); go on without it")
