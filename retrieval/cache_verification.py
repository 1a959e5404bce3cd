"""
What former epochs of the cache have left, held against the database: ``python -m retrieval.cache_verification``.

What is true still is carried over into the epoch in force with the time it has left; all else is deleted.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import asyncpg
import orjson

from retrieval.attribute_cache import KeptProduct, attributes_key, decode_attributes
from retrieval.feature_cache import decode_features, decode_popularity, features_key, popularity_key
from retrieval.product_features import ProductFeatures
from storage.database import Rows
from storage.errors import CacheUnavailable, EpochMoved, SettingMissing
from storage.former_keys import FormerKey, FormerKeys, former_keys
from storage.primary_session import primary_session
from storage.settings import StorageSettings

_DATABASE_FAILURES = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError)


class Reader(Protocol):
    """What runs named queries on the primary."""

    async def fetch(self, query_name: str, *args: object) -> Rows:
        """Return the rows."""


@dataclass(slots=True)
class Counts:
    """
    What became of the keys of one purpose.

    Attributes:
        carried: True still, and in use again.
        superseded: True still, and deleted because the same is kept already in the epoch in force.
        deleted: No longer true, or not to be verified.
    """

    carried: int = 0
    superseded: int = 0
    deleted: int = 0


class VerificationFailed(Exception):
    """Redis or Postgres is down, or went away. What was not looked at yet is as it was; run it again."""


async def verify(
    former: FormerKeys, database: Reader, *, told: Callable[[int], None] = lambda _: None
) -> dict[str, Counts]:
    """
    Carry over what is true still of what former epochs have left, and delete the rest; return the counts by purpose.

    Features, popularity and attributes can be held against the database; results and lists cannot, and live for five
    minutes only. Keys are looked at some hundreds at a time; *told* hears how many were.

    Raises:
        CacheUnavailable: Redis does not answer.
        EpochMoved: Redis was away once more.
        OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError: the primary does not answer.
    """
    counts: dict[str, Counts] = {}
    seen = 0
    async for batch in former.batches():
        true = await _true_still(batch, database)
        for purpose in {_purpose(key) for key in batch}:
            tally = counts.setdefault(purpose, Counts())
            confirmed = [key for key in true if _purpose(key) == purpose]
            carried = await former.carry(confirmed)
            superseded = await former.delete(confirmed)
            tally.carried += carried
            tally.superseded += superseded
            # Those that are gone by now are not counted.
            tally.deleted += await former.delete([key for key in batch if _purpose(key) == purpose])
        seen += len(batch)
        told(seen)
    return counts


async def _true_still(batch: Sequence[FormerKey], database: Reader) -> list[FormerKey]:
    """Those of *batch* that the database confirms."""
    true: list[FormerKey] = []
    for purpose, (decode, read) in _CHECKS.items():
        values: list[tuple[FormerKey, Any]] = []
        for key in batch:
            if _purpose(key) == purpose and key.value is not None:
                try:
                    values.append((key, decode(key.value)))
                except ValueError:
                    continue
        if values:
            known = await read(database, {_product_id(key) for key, _ in values})
            true += [key for key, value in values if known.get(key.key) == value]
    return true


async def _features(database: Reader, product_ids: Iterable[str]) -> dict[str, object]:
    rows = await database.fetch("product_features", list(product_ids))
    return {features_key(row["product_id"], row["revision"]): ProductFeatures.of(row) for row in rows.records}


async def _popularity(database: Reader, product_ids: Iterable[str]) -> dict[str, object]:
    rows = await database.fetch("popularity_features", list(product_ids))
    return {popularity_key(row["product_id"], row["version"]): row["popularity"] for row in rows.records}


async def _attributes(database: Reader, product_ids: Iterable[str]) -> dict[str, object]:
    rows = await database.fetch("products_by_id", list(product_ids))
    shown = [_plain(row) for row in rows.records if not row["hidden"]]
    return {attributes_key(row["id"]): KeptProduct.of(row) for row in shown}


_CHECKS: dict[str, tuple[Callable[[bytes], object], Callable[[Reader, Iterable[str]], Any]]] = {
    "features": (decode_features, _features),
    "popularity": (decode_popularity, _popularity),
    "attributes": (decode_attributes, _attributes),
}


def _plain(row: asyncpg.Record) -> dict[str, Any]:
    """*row* with its attributes as an object, on whichever kind of connection it was read."""
    fields = dict(row)
    if isinstance(fields["attributes"], str):
        fields["attributes"] = orjson.loads(fields["attributes"])
    return fields


def _purpose(key: FormerKey) -> str:
    return key.key.partition(":")[0]


def _product_id(key: FormerKey) -> str:
    """The product that *key* is about; ids may hold colons, what stands around them may not."""
    match _purpose(key):
        case "features":
            return key.key.split(":", 2)[-1].rpartition(":")[0]
        case _:
            return key.key.split(":", 2)[-1]


async def run(settings: StorageSettings, *, told: Callable[[int], None]) -> tuple[str, dict[str, Counts]]:
    """
    Verify what the servers of *settings* hold; return the epoch in force and the counts.

    Raises:
        VerificationFailed: one of them does not answer.
        SettingMissing: the settings name no Redis.
    """
    try:
        async with (
            former_keys(_redis_url(settings)) as former,
            primary_session(settings.database_url, application="shortlist-cache-verify") as session,
        ):
            return former.epoch, await verify(former, session, told=told)
    except (CacheUnavailable, EpochMoved) as error:
        raise VerificationFailed(f"{error} What was not verified yet is as it was. Run the command again.") from error
    except _DATABASE_FAILURES as error:
        problem = str(error) or type(error).__name__
        raise VerificationFailed(
            f"The primary does not answer: {problem}. Nothing can be verified without it; what was not verified yet "
            "is as it was. Run the command again when Postgres is back."
        ) from error


def _redis_url(settings: StorageSettings) -> str:
    if settings.redis_url is None:
        raise SettingMissing("SHORTLIST_REDIS_URL")
    return settings.redis_url


def described(epoch: str, counts: Mapping[str, Counts]) -> list[str]:
    """Return what was done, in lines."""
    if not counts:
        return [f"Former epochs have left nothing; {epoch} is in force."]
    lines = [
        f"{name}: {tally.carried} carried over, {tally.superseded} kept anew already, {tally.deleted} deleted"
        for name, tally in sorted(counts.items())
    ]
    return [*lines, f"What is true still is in use again, in {epoch}."]


def main() -> int:
    """Read the flags and run; 1 when a server does not answer, 2 when a setting is missing."""
    parser = argparse.ArgumentParser(
        prog="python -m retrieval.cache_verification",
        description="Hold what former epochs of the cache have left against the database.",
        epilog="The servers are those of SHORTLIST_REDIS_URL and SHORTLIST_DATABASE_URL.",
    )
    parser.add_argument("--json", action="store_true", help="write the counts as one JSON document")
    flags = parser.parse_args()

    def told(seen: int) -> None:
        sys.stderr.write(f"{seen} keys verified\n")
        sys.stderr.flush()

    def failed(problem: str, code: int) -> int:
        if flags.json:
            sys.stdout.write(json.dumps({"error": problem, "exit_code": code}) + "\n")
        sys.stderr.write(f"{problem}\n")
        return code

    try:
        settings = StorageSettings.from_environment()
        epoch, counts = asyncio.run(run(settings, told=told))
    except SettingMissing as error:
        return failed(str(error), 2)
    except VerificationFailed as error:
        return failed(str(error), 1)
    if flags.json:
        purposes = {name: dataclasses.asdict(tally) for name, tally in counts.items()}
        sys.stdout.write(json.dumps({"key_epoch": epoch, "purposes": purposes}) + "\n")
    else:
        sys.stdout.write("".join(f"{line}\n" for line in described(epoch, counts)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
