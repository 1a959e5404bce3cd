"""Candidates for a user, like some products, or popular; hydrated."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from dataclasses import replace
from functools import partial

from artifacts.factors import Factors
from artifacts.held import Held
from contracts.candidates import Profile, Retrieval, Retrieved
from contracts.deadline import Deadline
from contracts.requests import RecommendationRequest
from contracts.stages import Cause, Stage, StageName
from retrieval.assembly import Found, assemble
from retrieval.collaborative import CollaborativeRetriever
from retrieval.config import RetrievalConfig
from retrieval.fusion import fuse
from retrieval.hydration import Hydrator
from retrieval.live_catalogue import LiveCatalogue, Look, token_missed
from retrieval.popular import PopularList, PopularRetriever
from retrieval.profile import ProfileReader
from retrieval.reads import read_stage
from retrieval.similar import SimilarRetriever
from retrieval.stage_run import not_requested, run_stage
from storage.cache import Cache
from storage.database import Database

# What the profile and then the retrievers may each take of the time left, so that hydration still gets some.
SHARE = 0.5
# What the popular list may take of it where that is all there is.
ALONE_SHARE = 0.75


class RecommendationRetrieval:
    """
    The recommendation half of retrieval: candidates only, no order.

    Args:
        factors: The collaborative artifact, active or on trial; None in a process that holds none and so can offer
            popularity only.
        catalogue: The live catalogue with the embedding index; None likewise.
    """

    def __init__(
        self,
        database: Database,
        cache: Cache,
        config: RetrievalConfig,
        *,
        factors: Held[Factors] | None = None,
        catalogue: LiveCatalogue | None = None,
    ) -> None:
        self._profiles = ProfileReader(database, factors)
        widening = config.filter_widening
        self._collaborative = CollaborativeRetriever(catalogue, limit=config.collaborative_limit, widening=widening)
        self._similar = SimilarRetriever(catalogue, limit=config.similar_limit, rrf_k=config.rrf_k, widening=widening)
        self._popular = PopularRetriever(database, cache, limit=config.popular_limit)
        self._hydrator = Hydrator(database, cache, catalogue=catalogue)
        self._factors = factors
        self._catalogue = catalogue
        self._rrf_k = config.rrf_k

    async def profile(self, user_id: str, *, timeout_s: float, after: str | None = None) -> Profile:
        """Return the user's vector within *timeout_s*, events that *after* covers included; ``owned`` stays empty."""
        return await self._profiles.profile(user_id, timeout_s=timeout_s, after=after)

    async def retrieve(self, request: RecommendationRequest, *, timeout_s: float) -> Retrieval:
        """
        Return the candidates for *request* within *timeout_s*. Stages tell what fails; nothing is raised.

        Popular products stand in for a user nobody knows and for products nothing is like.
        """
        deadline = Deadline.in_seconds(timeout_s)
        found, popular = await asyncio.gather(
            self._for_its_subject(request, deadline), self._by_popularity(request, deadline)
        )
        return await self._assemble(_with_popular(found, popular, request), request, deadline)

    async def preferred(self, request: RecommendationRequest, *, timeout_s: float) -> tuple[Retrieved | None, Stage]:
        """Return what the factor model prefers for the request's user and nothing else, to look at."""
        deadline = Deadline.in_seconds(timeout_s)
        profile = await self._personal(request, deadline)
        if profile is None:
            return None, not_requested("collaborative")
        return await self._by_preference(Found(), profile, None, request, deadline)

    async def popular(self, request: RecommendationRequest, *, timeout_s: float) -> Retrieval:
        """Return popular products for *request*, whatever its type: what is left when nothing else can be asked."""
        deadline = Deadline.in_seconds(timeout_s)
        found = Found()
        popular, found.profile = await asyncio.gather(
            self._by_popularity(request, deadline, share=ALONE_SHARE), self._owner(request, deadline)
        )
        if found.profile is not None and _owner_unread(found.profile.stage):
            found.stages = [found.profile.stage]
        return await self._assemble(_with_popular(found, popular, request), request, deadline)

    async def _owner(self, request: RecommendationRequest, deadline: Deadline) -> Profile | None:
        """The user whose products are to be left out."""
        return await self._personal(request, deadline) if request.kind == "for_user" else None

    async def _personal(self, request: RecommendationRequest, deadline: Deadline) -> Profile | None:
        """The profile of the request's user, if it names one."""
        if request.user_id is None:
            return None
        return await self._profiles.with_owned(
            request.user_id, timeout_s=deadline.left_s(SHARE), after=request.consistency_token
        )

    async def _assemble(self, found: Found, request: RecommendationRequest, deadline: Deadline) -> Retrieval:
        return await assemble(
            found,
            request,
            deadline,
            hydrator=self._hydrator,
            fusing=partial(fuse, k=self._rrf_k),
        )

    async def _for_its_subject(self, request: RecommendationRequest, deadline: Deadline) -> Found:
        """What there is for the request's user or products, leaving popularity aside."""
        found = Found(
            index=self._catalogue.loaded if self._catalogue else None,
            cf=self._factors.current if self._factors else None,
        )
        collaborative, similar = not_requested("collaborative"), not_requested("similar")
        profile_stage = not_requested("profile")
        retrieved: Retrieved | None = None
        missed: Cause | None = None
        if request.kind != "popular":
            found.profile, missed = await asyncio.gather(
                self._personal(request, deadline), self._missed(request, deadline)
            )
        if found.profile is not None:
            profile_stage = found.profile.stage
        if request.kind == "for_user" and found.profile is not None:
            retrieved, collaborative = await self._by_preference(found, found.profile, missed, request, deadline)
        elif request.kind == "similar" and request.product_ids is not None:
            retrieved, similar = await self._by_likeness(found, missed, request, deadline)
            found.relevance = retrieved is not None and bool(retrieved.product_ids)
        if retrieved is not None:
            found.lists, found.answered = [retrieved], True
        found.stages = [profile_stage, collaborative, similar]
        return found

    async def _by_preference(
        self,
        found: Found,
        profile: Profile,
        missed: Cause | None,
        request: RecommendationRequest,
        deadline: Deadline,
    ) -> tuple[Retrieved | None, Stage]:
        loaded = self._factors.of_version(profile.version) if self._factors and profile.version else None
        if profile.vector is None or loaded is None:
            missing = self._factors.cause if self._factors else "artifact_missing"
            cause = missing or profile.stage.cause or "unknown_user"
            return None, Stage("collaborative", status="skipped", cause=cause)
        without = profile.owned | frozenset(request.exclude_ids)
        retrieved, stage = await self._looked(
            "collaborative",
            self._collaborative.retrieve(request, loaded.value, profile.vector, without=without),
            found,
            timeout_s=deadline.left_s(SHARE),
        )
        return retrieved, _unless_missed(stage, retrieved, missed)

    async def _by_likeness(
        self, found: Found, missed: Cause | None, request: RecommendationRequest, deadline: Deadline
    ) -> tuple[Retrieved | None, Stage]:
        retrieved, stage = await self._looked(
            "similar",
            self._similar.retrieve(request, factors=found.cf.value if found.cf else None),
            found,
            timeout_s=deadline.left_s(SHARE),
        )
        return retrieved, _unless_missed(stage, retrieved, missed)

    async def _missed(self, request: RecommendationRequest, deadline: Deadline) -> Cause | None:
        """Why the catalogue in memory lacks something that the request's token covers, if it does."""
        if self._catalogue is None:
            return None
        return await token_missed(self._catalogue, request, timeout_s=deadline.left_s(SHARE / 2))

    async def _looked(
        self, name: StageName, work: Awaitable[tuple[Retrieved, Look]], found: Found, *, timeout_s: float
    ) -> tuple[Retrieved | None, Stage]:
        """What a retriever found and its stage; *found* notes what it looked at."""
        result, stage = await run_stage(name, work, timeout_s=timeout_s)
        if result is None:
            return None, stage
        retrieved, look = result
        if self._catalogue is not None:
            found.index, found.changes = look.loaded or found.index, look.position
        return _noted((retrieved, stage))

    async def _by_popularity(
        self, request: RecommendationRequest, deadline: Deadline, *, share: float = SHARE
    ) -> tuple[PopularList | None, list[Stage]]:
        timeout_s = deadline.left_s(share)
        popular, stage = await run_stage(
            "popular", self._popular.retrieve(request, timeout_s=timeout_s), timeout_s=timeout_s
        )
        if popular is None and stage.cause is not None:
            # Where the process itself got no time, all the limits within have ended at once.
            popular = self._popular.last(request, unread=stage.cause)
        if popular is None:
            return None, [stage]
        stage = replace(read_stage(stage, popular.sources), source=popular.retrieved.source)
        if popular.unread is not None:
            stage = replace(stage, status="fallback", fallback="earlier list", cause=popular.unread)
        _, stage = _noted((popular.retrieved, stage))
        return popular, [stage, popular.cache] if popular.cache.degraded else [stage]


def _with_popular(
    found: Found, popular: tuple[PopularList | None, list[Stage]], request: RecommendationRequest
) -> Found:
    """*found* with the popular list: beside a user's candidates, in place of missing ones, aside when not needed."""
    popular_list, stages = popular
    if popular_list is None:
        found.stages = [*found.stages, *stages]
        return found
    found.epoch = popular_list.epoch
    found.sources.extend(popular_list.sources)
    found.cache_down = popular_list.cache.degraded
    found.answered = True
    has_candidates = any(retrieved.product_ids for retrieved in found.lists)
    if not has_candidates:
        found.stages = [_popular_stands_in(stage) for stage in found.stages]
    if not (has_candidates and request.kind == "similar"):
        found.lists = [*found.lists, popular_list.retrieved]
    found.stages = [*found.stages, *stages]
    return found


def _owner_unread(stage: Stage) -> bool:
    """Whether what a user owns is unknown; that a process which only stands in holds no model is no news."""
    return stage.degraded and stage.cause not in ("artifact_missing", "artifact_corrupt")


def _unless_missed(stage: Stage, retrieved: Retrieved | None, missed: Cause | None) -> Stage:
    """*stage*, unless what was found may lack something that the request's token covers."""
    if missed is None or retrieved is None:
        return stage
    return replace(stage, status="fallback", fallback="stale index", cause=missed)


def _popular_stands_in(stage: Stage) -> Stage:
    if stage.name in ("collaborative", "similar") and stage.cause not in (None, "not_requested"):
        return replace(stage, status="fallback", fallback="popular")
    return stage


def _noted(result: tuple[Retrieved | None, Stage]) -> tuple[Retrieved | None, Stage]:
    """A retriever's stage with its source; one that found nothing says so."""
    retrieved, stage = result
    if retrieved is None:
        return result
    stage = replace(stage, source=stage.source or retrieved.source)
    return retrieved, stage if retrieved.product_ids or stage.cause else replace(stage, cause="no_match")
