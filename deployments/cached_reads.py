"""Answers from the result cache, or made once for everyone who asks at the same moment."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from contracts.answers import Answer
from contracts.arms import personal_to
from contracts.deadline import Deadline, time_limit
from contracts.requests import ReadRequest, RecommendationRequest, SearchRequest
from contracts.stages import Cause, Stage
from contracts.versions import Versions
from deployments.cache_status import CacheOutcome, Detail
from deployments.result_cache import ResultCache, result_key
from deployments.single_flight import SingleFlight
from retrieval.reads import cache_down
from retrieval.stage_run import cause_of, not_requested
from storage.cache import Cache
from storage.errors import CacheUnavailable, DatabaseUnavailable

Compute = Callable[[], Awaitable[Answer]]

# An answer that is cut off at the deadline takes a moment to be put together, on a busy machine a long one: late it is
# still worth more than none.
GRACE_S = 1.0

# What finding an answer may take of the time left, so that one can still be made where the cache hangs.
FIND_SHARE = 0.6

# What counting a user's events may take: seconds, and share of the request's time.
EVENT_COUNT_S = 0.2
EVENT_COUNT_SHARE = 0.2


NO_DATABASE: frozenset[Cause] = frozenset({"unavailable", "circuit_open"})
LAST_SEEN = "events last seen"
"""What stands in for the profile of now in an answer that was kept, while no database can count the user's events."""
# Users whose last seen number of events is remembered.
MOST_USERS = 20_000


@dataclass(frozen=True, slots=True)
class _Subject:
    """
    What an answer made now depends on, beside the request.

    Attributes:
        versions: What the gateway expects of it.
        event_count: How many events of the user it takes into account; None if it is not personal.
        unread: Why the number is the one that was seen last, and not that of now; None if it is that of now.
    """

    versions: Versions
    event_count: int | None
    unread: Cause | None = None


class CachedReads:
    """
    Answers reads, from the cache where it can.

    Args:
        cache: Holds answers; one without a server is fine.
        versions: The versions of an answer made now; None while they are not known.
        event_count: How many events of a user an answer made now takes into account, within so many seconds; may raise
            DatabaseUnavailable.
        of_arm: The versions of an answer to a request, made of those for everyone: those of a canary for its users.
    """

    def __init__(
        self,
        cache: Cache,
        *,
        versions: Callable[[], Versions | None],
        event_count: Callable[[str, float], Awaitable[int]],
        of_arm: Callable[[ReadRequest, Versions], Versions] = lambda _, versions: versions,
    ) -> None:
        self._results = ResultCache(cache)
        self._versions = versions
        self._event_count = event_count
        self._of_arm = of_arm
        self._seen: OrderedDict[str, int] = OrderedDict()
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
            (key, request.timeout_ms, subject.unread),
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
        versions = self._of_arm(request, versions)
        user_id = personal_to(request)
        if user_id is None:
            return _Subject(versions, None)
        try:
            return _Subject(versions, self._saw(user_id, await self._event_count(user_id, event_count_s)))
        except DatabaseUnavailable as error:
            cause = cause_of(error)
            # One that is only slow or busy may well count them for an answer that is made now.
            if cause not in NO_DATABASE or user_id not in self._seen:
                return "user-unread"
            return _Subject(versions, self._seen[user_id], unread=cause)

    def _saw(self, user_id: str, event_count: int) -> int:
        self._seen[user_id] = event_count
        self._seen.move_to_end(user_id)
        if len(self._seen) > MOST_USERS:
            self._seen.popitem(last=False)
        return event_count

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
            found = _with_cache(_as_last_seen(kept[0], subject), stage)
            return found, CacheOutcome("hit", ttl_s=kept[1], detail="user-unread" if subject.unread else None)
        answer = await compute()
        return answer, self._storing(key, subject, answer)

    def _storing(self, key: str, subject: _Subject, answer: Answer) -> CacheOutcome:
        if answer.degraded or not answer.answered:
            return CacheOutcome("miss", detail="degraded")
        if answer.versions != subject.versions or answer.event_count not in (None, subject.event_count):
            return CacheOutcome("miss", detail="versions-moved")
        begun = self._results.keep_soon(key, replace(answer, products=None))
        return CacheOutcome("miss", detail="storing" if begun else "not-stored")


def _as_last_seen(answer: Answer, subject: _Subject) -> Answer:
    """*answer*, which was kept; where the user's events could not be counted, its profile is that of the last count."""
    if subject.unread is None:
        return answer
    profile = Stage("profile", "fallback", fallback=LAST_SEEN, cause=subject.unread)
    return replace(answer, stages=[*(made for made in answer.stages if made.name != "profile"), profile])


def _with_cache(answer: Answer, stage: Stage) -> Answer:
    """*answer* with the stage of the cache, unless another part found the cache failing already."""
    if any(made.name == "cache" and made.degraded for made in answer.stages):
        return answer
    return replace(answer, stages=[*(made for made in answer.stages if made.name != "cache"), stage])
