"""Whole answers by request and versions, for five minutes."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections.abc import Callable
from contextvars import Context
from dataclasses import dataclass
from typing import Any

import orjson
from pydantic import TypeAdapter

from contracts.answers import Answer
from contracts.ranked import Explanation, RankedHit, RankedPage
from contracts.requests import ReadRequest
from contracts.stages import Stage
from contracts.versions import Freshness, Versions
from storage.cache import Cache
from storage.shelf import Shelf

log = logging.getLogger(__name__)

LIFETIME_S = 300
# Answers on their way to the cache at once: one that is well takes a millisecond for each.
MOST_AT_ONCE = 100
# Part of the keys: another shape or meaning of an answer takes the next number.
SCHEMA = 1

# What says how a page is asked for, and not which: the offset says that.
NOT_IN_THE_KEY = {"cursor", "timeout_ms", "degradation", "consistency_token"}


@dataclass(frozen=True, slots=True)
class Kept:
    """
    An answer in the cache.

    Attributes:
        answer: Without the attributes of its products, which are read from the database each time.
        kept_at: When it was put there, seconds since 1970.
    """

    answer: Answer
    kept_at: float


_KEPT = TypeAdapter(Kept)


class ResultCache:
    """
    Keeps answers under what they depend on, so that an answer is never used after any of it has moved.

    Args:
        cache: Where they are kept.
        clock: Seconds since 1970.
    """

    def __init__(self, cache: Cache, *, clock: Callable[[], float] = time.time) -> None:
        self._answers = Shelf(cache, "results", ttl_s=LIFETIME_S, encode=_encode, decode=_decode)
        self._clock = clock
        self._keeping: set[asyncio.Task[None]] = set()

    @property
    def configured(self) -> bool:
        """Whether there is a cache at all; without one nothing is found and nothing kept."""
        return self._answers.configured

    async def find(self, key: str) -> tuple[Answer, int] | None:
        """
        Return the answer under *key* and for how many seconds it may still be used; None if there is none.

        Raises:
            CacheUnavailable: the cache did not answer.
        """
        kept = (await self._answers.read([key])).get(key)
        if kept is None:
            return None
        return kept.answer, min(LIFETIME_S, max(0, round(kept.kept_at + LIFETIME_S - self._clock())))

    def keep_soon(self, key: str, answer: Answer) -> bool:
        """Begin to `keep` *answer*; return whether that was begun, which it is not while so many are being kept."""
        if len(self._keeping) >= MOST_AT_ONCE:
            return False
        keeping = asyncio.create_task(self._keep_quietly(key, answer), name="result-cache", context=Context())
        self._keeping.add(keeping)
        keeping.add_done_callback(self._keeping.discard)
        return True

    async def settled(self) -> None:
        """Return when every answer that was to be kept soon is, or cannot be."""
        if self._keeping:
            await asyncio.wait(self._keeping)

    async def keep(self, key: str, answer: Answer) -> bool:
        """Keep *answer*, which holds no products, under *key*; return whether that worked."""
        return await self._answers.write({key: Kept(answer, self._clock())})

    async def _keep_quietly(self, key: str, answer: Answer) -> None:
        try:
            await self.keep(key, answer)
        except Exception:  # nobody awaits it
            log.exception("an answer was not kept")


def result_key(request: ReadRequest, *, offset: int, versions: Versions, event_count: int | None) -> str:
    """
    Return the key of the answer to *request* from *offset* on.

    Args:
        request: Searches and recommendations never share a key.
        offset: Hits that were passed over.
        versions: What an answer made now depends on: the catalogue, the artifacts, the settings.
        event_count: How many events of the user an answer made now takes into account; None if it is not personal.
    """
    asked = request.model_dump(mode="json", exclude=NOT_IN_THE_KEY)
    text = orjson.dumps([type(request).__name__, asked, offset, versions, event_count], option=orjson.OPT_SORT_KEYS)
    return f"results:{SCHEMA}:{hashlib.sha256(text).hexdigest()}"


def _encode(kept: Kept) -> bytes:
    return orjson.dumps(kept, option=orjson.OPT_SERIALIZE_NUMPY)


def _decode(raw: bytes) -> Kept:
    """The answer that *raw* is, or ValueError."""
    _KEPT.validate_json(raw, strict=True)
    # Built from the plain JSON: validation turns the 1 of a field that may hold 1.5 into 1.0, which reads differently.
    entry = orjson.loads(raw)
    try:
        return Kept(_answer(**entry["answer"]), entry["kept_at"])
    except TypeError as error:
        raise ValueError("has fields that no answer has") from error


def _answer(**fields: Any) -> Answer:  # noqa: ANN401 - validated
    return Answer(
        **fields
        | {
            "page": _page(**fields["page"]),
            "stages": [Stage(**stage) for stage in fields["stages"]],
            "versions": Versions(**fields["versions"]),
            "freshness": Freshness(**fields["freshness"]),
        }
    )


def _page(**fields: Any) -> RankedPage:  # noqa: ANN401 - validated
    return RankedPage(**fields | {"hits": [_hit(**hit) for hit in fields["hits"]]})


def _hit(**fields: Any) -> RankedHit:  # noqa: ANN401 - validated
    explanation = fields.get("explanation")
    return RankedHit(**fields | {"explanation": None if explanation is None else Explanation(**explanation)})
