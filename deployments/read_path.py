"""The read path: which stage follows which, how long each may take, and who stands in."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from contracts.answers import Answer
from contracts.candidates import Profile, Retrieval
from contracts.deadline import Deadline
from contracts.ranked import RankedPage, RankRequest
from contracts.requests import ReadRequest, RecommendationRequest, SearchRequest
from contracts.stages import Cause, Stage
from deployments.cache_status import cache_status
from deployments.cached_reads import CachedReads
from deployments.config import GraphConfig
from deployments.hop import Hop, HopFailed
from deployments.single_flight import WorkAbandoned
from deployments.stand_ins import StandIns, better, nothing, why_empty
from retrieval.attribute_cache import AttributeCache
from retrieval.hydration import Hydrator
from retrieval.reads import read_freshness
from retrieval.shown_products import shown_products
from retrieval.stage_run import not_requested

# What a deployment may take of the time its caller waits: the rest is for the way there and back, so that it is the
# stage within that runs out of time and not the hop, with everything that was found.
INNER_SHARE = 0.85


@dataclass(frozen=True, slots=True)
class ReadPath:
    """
    Search and recommendations, from request to answer.

    Attributes:
        search: The search deployment.
        recommendation: The recommendation deployment.
        ranking: The ranking deployment.
        stand_ins: What needs no other deployment.
        cached: Answers from the result cache, or has them made once for all who ask at the same moment.
        hydrator: Reads the hits' attributes, after ranking and the cache, so that no old price is shown.
        config: Shares of time, and the version that answers carry.
        attributes: What was shown lately, for when no database answers.
    """

    search: Hop
    recommendation: Hop
    ranking: Hop
    stand_ins: StandIns
    cached: CachedReads
    hydrator: Hydrator
    config: GraphConfig
    attributes: AttributeCache | None = None

    async def searched(self, request: SearchRequest, *, offset: int, deadline: Deadline | None = None) -> Answer:
        """Return the answer to a search, by *deadline* or within the request's own time from now."""
        due = deadline or Deadline.in_seconds(request.timeout_ms / 1000)
        return await self._answered(request, offset, due, lambda: self._search(request, due, offset))

    async def recommended(
        self, request: RecommendationRequest, *, offset: int, deadline: Deadline | None = None
    ) -> Answer:
        """Return the answer to a request for recommendations, by *deadline* or within its own time from now."""
        due = deadline or Deadline.in_seconds(request.timeout_ms / 1000)
        return await self._answered(request, offset, due, lambda: self._recommend(request, due, offset))

    async def _answered(
        self,
        request: SearchRequest | RecommendationRequest,
        offset: int,
        deadline: Deadline,
        make: Callable[[], Awaitable[Answer]],
    ) -> Answer:
        """Return the answer that the cache holds or *make* makes, with the attributes of its hits as they are now."""
        try:
            answer, outcome = await self.cached.answer(request, offset=offset, compute=make, deadline=deadline)
        except TimeoutError:
            return nothing("timeout")
        except WorkAbandoned:
            return nothing("unavailable")
        answer = replace(answer, cache_status=cache_status(outcome))
        return await self._hydrated(answer, request, deadline, read_anew=outcome.status == "hit")

    async def _search(self, request: SearchRequest, deadline: Deadline, offset: int) -> Answer:
        """Retrieve and look the user up side by side, then rank."""
        retrieval, (profile, stage) = await asyncio.gather(
            self._searching(request, deadline), self._profile(request, deadline)
        )
        retrieval = replace(retrieval, profile=profile, stages=[*retrieval.stages, stage])
        return await self._ranked(request, retrieval, deadline, offset=offset)

    async def _recommend(self, request: RecommendationRequest, deadline: Deadline, offset: int) -> Answer:
        """Retrieve, then rank."""
        timeout_s = deadline.left_s(self.config.gateway.retrieve_share)
        try:
            retrieval = await self.recommendation.call(
                "retrieve", request, timeout_s * INNER_SHARE, timeout_s=timeout_s, again=True
            )
        except HopFailed as failure:
            retrieval = await self.stand_ins.recommendation(request, failure, deadline)
        else:
            empty = _unanswered(self.recommendation, retrieval)
            if empty is not None:
                retrieval = better(await self.stand_ins.recommendation(request, empty, deadline), retrieval)
        excluded = frozenset(request.exclude_ids) | frozenset(request.product_ids or ())
        if request.kind == "for_user" and retrieval.profile is not None:
            excluded |= retrieval.profile.owned
        return await self._ranked(request, retrieval, deadline, offset=offset, excluded=excluded)

    async def _searching(self, request: SearchRequest, deadline: Deadline) -> Retrieval:
        timeout_s = deadline.left_s(self.config.gateway.retrieve_share)
        try:
            retrieval: Retrieval = await self.search.call(
                "retrieve", request, timeout_s * INNER_SHARE, timeout_s=timeout_s, again=True
            )
        except HopFailed as failure:
            return await self.stand_ins.search(request, failure, deadline)
        empty = _unanswered(self.search, retrieval)
        if empty is None:
            return retrieval
        return better(await self.stand_ins.search(request, empty, deadline), retrieval)

    async def _profile(self, request: SearchRequest, deadline: Deadline) -> tuple[Profile | None, Stage]:
        if request.user_id is None:
            return None, not_requested("profile")
        timeout_s = deadline.left_s(self.config.gateway.retrieve_share)
        try:
            profile: Profile = await self.recommendation.call(
                "profile",
                request.user_id,
                timeout_s * INNER_SHARE,
                request.consistency_token,
                timeout_s=timeout_s,
                again=True,
            )
        except HopFailed as failure:
            return None, Stage("profile", "skipped", cause=failure.cause, ms=failure.ms)
        return profile, profile.stage

    async def _ranked(
        self,
        request: ReadRequest,
        retrieval: Retrieval,
        deadline: Deadline,
        *,
        offset: int,
        excluded: frozenset[str] = frozenset(),
    ) -> Answer:
        profile = retrieval.profile
        page, ranked = await self._page(
            RankRequest(
                candidates=retrieval.candidates,
                user_vector=profile.vector if profile else None,
                user_vector_version=profile.version if profile else None,
                excluded_ids=excluded,
                keep_out_of_stock=request.in_stock is False,
                offset=offset,
                limit=request.limit,
                explain=request.explain,
            ),
            deadline,
        )
        return Answer(
            page=page,
            products=None,
            truncated=retrieval.truncated,
            answered=retrieval.answered,
            stages=_one_each([*retrieval.stages, ranked]),
            versions=replace(
                retrieval.versions,
                cf=page.cf_version or retrieval.versions.cf,
                weights=page.weights_version,
                config=self.config.version,
            ),
            freshness=retrieval.freshness,
            event_count=profile.event_count if profile else None,
        )

    async def _hydrated(self, answer: Answer, request: ReadRequest, deadline: Deadline, *, read_anew: bool) -> Answer:
        """
        Return *answer* with the attributes of its hits as they are now, and without hits that may no longer be shown.

        *read_anew*: nothing else of the answer was read now, so that its freshness is that of this reading.
        """
        product_ids = [hit.product_id for hit in answer.page.hits]
        shown, stage = await shown_products(
            self.hydrator, self.attributes, product_ids, request=request, deadline=deadline
        )
        if stage.cause is not None:
            answer = replace(answer, stages=_with_hydration(answer.stages, stage))
        if shown is None:
            return answer
        now = read_freshness([shown.source] if shown.source else [], index_age_s=answer.freshness.index_age_s)
        return replace(
            answer,
            freshness=now if read_anew else answer.freshness,
            page=replace(answer.page, hits=[hit for hit in answer.page.hits if hit.product_id not in shown.withheld]),
            products=shown.products,
        )

    async def _page(self, request: RankRequest, deadline: Deadline) -> tuple[RankedPage, Stage]:
        """Return the page in order: by the ranking deployment, or by popularity when it is down."""
        started = time.perf_counter()
        timeout_s = deadline.left_s(self.config.gateway.rank_share)
        try:
            page: RankedPage = await self.ranking.call("rank", request, timeout_s=timeout_s, again=True)
        except HopFailed as failure:
            return self.stand_ins.ranking(request, failure)
        cause: Cause | None = "version_mismatch" if page.version_mismatch else None
        ms = round((time.perf_counter() - started) * 1000, 3)
        return page, Stage("rank", source="weighted", cause=cause, ms=ms)


def _unanswered(hop: Hop, retrieval: Retrieval) -> HopFailed | None:
    """What *hop* amounts to where it could ask nothing itself: a failed call, unless it was for too much to do."""
    if retrieval.answered or (cause := why_empty(retrieval)) == "overloaded":
        return None
    return HopFailed(hop.name, cause, 0.0)


def _with_hydration(stages: list[Stage], stage: Stage) -> list[Stage]:
    """*stages* with that of reading the hits' attributes, unless candidates were worse off than hits."""
    if any(made.name == "hydrate" and made.may_change_hits and not stage.may_change_hits for made in stages):
        return stages
    return [*(made for made in stages if made.name != "hydrate"), stage]


def _one_each(stages: list[Stage]) -> list[Stage]:
    """Each stage once: of two of one name the one that has something worse to say, then the first."""
    best: dict[str, Stage] = {}
    for stage in stages:
        held = best.get(stage.name)
        if held is None or (stage.degraded and not held.degraded):
            best[stage.name] = stage
    return list(best.values())
