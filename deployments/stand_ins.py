"""What stands in for a deployment that does not answer, made in the gateway's own process."""

from __future__ import annotations

from dataclasses import dataclass, replace

from contracts.answers import Answer
from contracts.candidates import Retrieval
from contracts.deadline import Deadline
from contracts.ranked import RankedPage, RankRequest
from contracts.requests import ReadRequest, RecommendationRequest, SearchRequest
from contracts.stages import RETRIEVERS, Cause, Stage, StageName
from contracts.versions import Freshness, Versions
from deployments.hop import HopFailed
from ranking.rankers import PopularityRanker
from retrieval.keyword_search import KeywordSearch
from retrieval.recommendation import RecommendationRetrieval

# What a stand-in may take of the time left: it is all there is to show, ranking and hydration only add to it.
SHARE = 0.8
# Of a request's whole time, what it gets even where nothing is left: a late answer is worth more than none.
LEAST_SHARE = 0.25


@dataclass(frozen=True, slots=True)
class StandIns:
    """
    What is left without each deployment.

    Attributes:
        words: Search by words, in place of the search deployment.
        popular: Retrieval without factors and index: popular products, in place of the recommendation deployment.
    """

    words: KeywordSearch
    popular: RecommendationRetrieval

    async def search(self, request: SearchRequest, failure: HopFailed, deadline: Deadline) -> Retrieval:
        """Return what words alone find."""
        timeout_s = _timeout_s(request, deadline)
        return await self.words.instead(request, by="gateway", cause=failure.cause, timeout_s=timeout_s)

    async def recommendation(self, request: RecommendationRequest, failure: HopFailed, deadline: Deadline) -> Retrieval:
        """Return popular products, without what the user owns where the recommendations are for one."""
        retrieval = await self.popular.popular(request, timeout_s=_timeout_s(request, deadline))
        return replace(retrieval, stages=_without_recommendation(request, retrieval.stages, failure))

    def ranking(self, request: RankRequest, failure: HopFailed) -> tuple[RankedPage, Stage]:
        """Return the page in the order of popularity."""
        page = PopularityRanker().rank(request)
        return page, Stage("rank", "fallback", fallback="popularity", cause=failure.cause, ms=failure.ms)


def better(instead: Retrieval, empty: Retrieval) -> Retrieval:
    """*instead*, whose retrievers say why they failed in *empty*; *empty* itself where that is no worse."""
    if not instead.answered:
        return empty
    causes = {stage.name: stage.cause for stage in empty.stages if stage.name in RETRIEVERS and stage.degraded}
    stages = [
        replace(stage, cause=causes[stage.name]) if stage.degraded and stage.name in causes else stage
        for stage in instead.stages
    ]
    return replace(instead, stages=stages)


def why_empty(retrieval: Retrieval) -> Cause:
    """Why *retrieval* could not be made."""
    return next((stage.cause for stage in retrieval.stages if stage.degraded and stage.cause), "unavailable")


def nothing(cause: Cause) -> Answer:
    """What there is to say when the work for several requests gave this one nothing."""
    return Answer(
        page=RankedPage([], kept=0, removed={}, weights_version="", cf_version=None, version_mismatch=False),
        products=None,
        truncated=False,
        answered=False,
        stages=[Stage("cache", "skipped", cause=cause)],
        versions=Versions(),
        freshness=Freshness(),
    )


def _timeout_s(request: ReadRequest, deadline: Deadline) -> float:
    return max(deadline.left_s(SHARE), LEAST_SHARE * request.timeout_ms / 1000)


def _without_recommendation(request: RecommendationRequest, stages: list[Stage], failure: HopFailed) -> list[Stage]:
    """The stages of an answer made without the recommendation deployment; popular products are the same from here."""
    if request.kind == "popular":
        return [
            _read_here(stage, failure) if stage.name == "popular" and not stage.degraded else stage for stage in stages
        ]
    name: StageName = "similar" if request.kind == "similar" else "collaborative"
    return [Stage(name, "fallback", fallback="popular", cause=failure.cause, ms=failure.ms), *stages]


def _read_here(stage: Stage, failure: HopFailed) -> Stage:
    return replace(stage, status="fallback", fallback="gateway", cause=failure.cause)
