"""The keys that former epochs of the cache have left: read, carried over into the epoch in force, or deleted."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Collection, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import cast

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from storage.errors import CacheUnavailable, EpochMoved
from storage.key_epoch import EPOCH_KEY, NAMESPACE, NOT_AWAY, SETTLE, began_at, parted, stored_key

TIMEOUT_S = 10.0
BATCH = 500

# KEYS: [1] the epoch's key, then pairs of a former and a present name. ARGV: [1] the epoch in force, then the value of
# each pair. What has changed or expired since it was read stays, and nothing that is there already is overwritten.
# Returns how many were carried over, or -1 in another epoch.
_CARRY = """
if redis.call('MGET', KEYS[1])[1] ~= ARGV[1] then return -1 end
local carried = 0
for i = 2, #KEYS, 2 do
    if redis.call('MGET', KEYS[i])[1] == ARGV[1 + i / 2] then
        carried = carried + redis.call('RENAMENX', KEYS[i], KEYS[i + 1])
    end
end
return carried
"""


@dataclass(frozen=True, slots=True)
class FormerKey:
    """
    A key that a former epoch has left.

    Attributes:
        epoch: Which.
        key: As whoever kept the value named it.
        value: None where it is gone meanwhile, or no text.
    """

    epoch: str
    key: str
    value: bytes | None


class FormerKeys:
    """
    What former epochs have left on a server.

    Args:
        redis: The server.
        epoch: The one in force.
    """

    def __init__(self, redis: Redis, epoch: str) -> None:
        self.epoch = epoch
        self._redis = redis

    async def batches(self) -> AsyncIterator[list[FormerKey]]:
        """
        Yield all keys with their values, some hundreds at a time; a key may come twice.

        Raises:
            CacheUnavailable: the server does not answer.
        """
        cursor = 0
        while True:
            with _failures():
                cursor, names = await self._redis.scan(cursor, match=f"{NAMESPACE}*", count=BATCH)
                parts = [
                    (name, found) for name in names if (found := parted(_text(name))) and self._is_former(found[0])
                ]
                values = cast(
                    "list[bytes | None]", await self._redis.mget([name for name, _ in parts]) if parts else []
                )
            if parts:
                yield [FormerKey(epoch, key, value) for (_, (epoch, key)), value in zip(parts, values, strict=True)]
            if cursor == 0:
                return

    async def carry(self, keys: Sequence[FormerKey]) -> int:
        """
        Carry *keys*, as they were read, over into the epoch in force, with the time they have left; return how many.

        One that is kept in the epoch in force already, or that has changed, stays where it is.

        Raises:
            EpochMoved: another epoch is in force meanwhile, and nothing was done.
            CacheUnavailable: the server does not answer.
        """
        kept = [key for key in keys if key.value is not None]
        if not kept:
            return 0
        names = [name for key in kept for name in (stored_key(key.epoch, key.key), stored_key(self.epoch, key.key))]
        values = [cast("bytes", key.value) for key in kept]
        with _failures():
            carrying = self._redis.eval(_CARRY, 1 + len(names), EPOCH_KEY, *names, self.epoch, *values)
            carried = int(await cast("Awaitable[int]", carrying))
        if carried < 0:
            raise EpochMoved(self.epoch)
        return carried

    async def delete(self, keys: Collection[FormerKey]) -> int:
        """
        Delete *keys* of former epochs that are still there; return how many.

        Raises:
            CacheUnavailable: the server does not answer.
        """
        if not keys:
            return 0
        with _failures():
            return int(await self._redis.unlink(*(stored_key(key.epoch, key.key) for key in keys)))

    def _is_former(self, epoch: str) -> bool:
        return epoch != self.epoch and began_at(epoch) <= began_at(self.epoch)


@asynccontextmanager
async def former_keys(redis_url: str) -> AsyncIterator[FormerKeys]:
    """
    Connect to the server and see which epoch is in force; on one that holds none, one begins.

    Raises:
        CacheUnavailable: the server does not answer.
    """
    redis = Redis.from_url(
        redis_url, retry=Retry(NoBackoff(), 0), socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S
    )
    try:
        with _failures():
            epoch = await cast("Awaitable[bytes]", redis.eval(SETTLE, 1, EPOCH_KEY, 0, NOT_AWAY, "0"))
        yield FormerKeys(redis, epoch.decode())
    finally:
        await redis.aclose()


@contextmanager
def _failures() -> Iterator[None]:
    try:
        yield
    except (RedisError, OSError) as error:
        raise CacheUnavailable(f"Redis does not answer: {str(error) or type(error).__name__}") from error


def _text(name: bytes | str) -> str:
    return name if isinstance(name, str) else name.decode(errors="replace")
