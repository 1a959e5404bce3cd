"""Answers from the result cache, or made once for everyone who asks at the same moment."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from contracts.answers import Answer
from contracts.deadline import Deadline, time_limit
from contracts.requests import ReadRequest, RecommendationRequest, SearchRequest
from contracts.stages import Stage
from contracts.versions import Versions
from deployments.cache_status import CacheOutcome, Detail
from deployments.result_cache import ResultCache, result_key
from deployments.single_flight import SingleFlight
from retrieval.reads import cache_down
from retrieval.stage_run import not_requested
from storage.cache import Cache
from storage.errors import CacheUnavailable, DatabaseUnavailable

Compute = Callable[[], Awaitable[Answer]]

# An answer that is cut off at the deadline takes a moment to be put together.
GRACE_S = 0.25

# What finding an answer may take of the time left, so that one can still be made where the cache hangs.
FIND_SHARE = 0.6

# What counting a user's events may take: seconds, and share of the request's time.
EVENT_COUNT_S = 0.2
EVENT_COUNT_SHARE = 0.2


@dataclass(frozen=True, slots=True)
class _Subject:
    """What an answer made now depends on, beside the request."""

    versions: Versions
    event_count: int | None


class CachedReads:
    """
    Answers reads, from the cache where it can.

    Args:
        cache: Holds answers; one without a server is fine.
        versions: The versions of an answer made now; None while they are not known.
        event_count: How many events of a user an answer made now takes into account, within so many seconds; may raise
            DatabaseUnavailable.
    """

    def __init__(
        self,
        cache: Cache,
        *,
        versions: Callable[[], Versions | None],
        event_count: Callable[[str, float], Awaitable[int]],
    ) -> None:
        self._results = ResultCache(cache)
        self._versions = versions
        self._event_count = event_count
        self._flights: SingleFlight[tuple[Answer, CacheOutcome]] = SingleFlight()

    async def answer(
        self,
        request: SearchRequest | RecommendationRequest,
        *,
        offset: int,
        compute: Compute,
        deadline: Deadline | None = None,
    ) -> tuple[Answer, CacheOutcome]:
        """
        Return the answer to *request* without the attributes of its products, and how the cache served it.

        An answer is kept if it is not degraded and was made with the very versions that its key names; one made by a
        part that lags is shown and forgotten. Nobody waits until it is kept, nor long for a cache that hangs. Nothing
        is asked of the cache, and nothing shared, for a request with a consistency token.

        Args:
            request: The request.
            offset: Hits to pass over.
            compute: Makes the answer, without products, within the request's own deadline.
            deadline: When it must be there; by default within the request's own time from now.

        Raises:
            TimeoutError: the deadline passed while the answer was being made for another request.
            WorkAbandoned: this replica is shutting down.
        """
        deadline = deadline or Deadline.in_seconds(request.timeout_ms / 1000)
        subject = await self._subject(request, min(EVENT_COUNT_S, deadline.left_s(EVENT_COUNT_SHARE)))
        if not isinstance(subject, _Subject):
            return _with_cache(await compute(), not_requested("cache")), CacheOutcome("bypass", detail=subject)
        key = result_key(request, offset=offset, versions=subject.versions, event_count=subject.event_count)
        # Only requests with the same deadline share work: one in a hurry must not give its cut-off answer to others.
        (answer, outcome), joined = await self._flights.do(
            (key, request.timeout_ms),
            lambda: self._found_or_made(key, subject, compute, deadline),
            timeout_s=deadline.left_s() + GRACE_S,
        )
        return answer, replace(outcome, collapsed=joined and outcome.status == "miss")

    async def settled(self) -> None:
        """Return when every answer that was to be kept is, or cannot be."""
        await self._results.settled()

    async def _subject(self, request: SearchRequest | RecommendationRequest, event_count_s: float) -> _Subject | Detail:
        """What an answer depends on, or why that cannot be told or must not matter."""
        if request.consistency_token is not None:
            return "consistency-token"
        versions = self._versions()
        if versions is None:
            return "versions-unknown"
        user_id = personal_to(request)
        try:
            return _Subject(versions, None if user_id is None else await self._event_count(user_id, event_count_s))
        except DatabaseUnavailable:
            return "user-unread"

    async def _found_or_made(
        self, key: str, subject: _Subject, compute: Compute, deadline: Deadline
    ) -> tuple[Answer, CacheOutcome]:
        if not self._results.configured:
            return _with_cache(await compute(), not_requested("cache")), CacheOutcome("miss", detail="not-configured")
        started = time.perf_counter()
        try:
            async with time_limit(deadline.left_s(FIND_SHARE)):
                kept = await self._results.find(key)
        except (CacheUnavailable, TimeoutError) as error:
            stage = cache_down(error, started)
            return _with_cache(await compute(), stage), CacheOutcome("miss", detail="unavailable")
        if kept is not None:
            stage = Stage("cache", source="redis", ms=round((time.perf_counter() - started) * 1000, 3))
            return _with_cache(kept[0], stage), CacheOutcome("hit", ttl_s=kept[1])
        answer = await compute()
        return answer, self._storing(key, subject, answer)

    def _storing(self, key: str, subject: _Subject, answer: Answer) -> CacheOutcome:
        if answer.degraded or not answer.answered:
            return CacheOutcome("miss", detail="degraded")
        if answer.versions != subject.versions or answer.event_count not in (None, subject.event_count):
            return CacheOutcome("miss", detail="versions-moved")
        begun = self._results.keep_soon(key, replace(answer, products=None))
        return CacheOutcome("miss", detail="storing" if begun else "not-stored")


def personal_to(request: ReadRequest) -> str | None:
    """The user on whose events the answer to *request* depends, if any."""
    if isinstance(request, SearchRequest):
        return request.user_id
    if isinstance(request, RecommendationRequest) and request.kind != "popular":
        return request.user_id
    return None


def _with_cache(answer: Answer, stage: Stage) -> Answer:
    """*answer* with the stage of the cache, unless another part found the cache failing already."""
    if any(made.name == "cache" and made.degraded for made in answer.stages):
        return answer
    return replace(answer, stages=[*(made for made in answer.stages if made.name != "cache"), stage])
