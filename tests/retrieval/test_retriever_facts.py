"""What holds for every retriever, whatever it looks in."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from artifacts.active import ActiveArtifact
from artifacts.embedding_index import EmbeddingIndex
from artifacts.factors import Factors
from contracts.candidates import Retrieved
from contracts.requests import RecommendationRequest, SearchRequest
from retrieval.collaborative import CollaborativeRetriever
from retrieval.keyword import KeywordRetriever
from retrieval.live_catalogue import LiveCatalogue
from retrieval.popular import PopularRetriever
from retrieval.semantic import SemanticRetriever
from retrieval.similar import SimilarRetriever
from storage.cache import Cache
from storage.database import Database

Retrieve = Callable[[int], Awaitable[Retrieved]]


@pytest.fixture(
    params=[
        ("keyword", ""),
        ("semantic", ""),
        ("semantic", "live"),
        ("collaborative", ""),
        ("collaborative", "live"),
        ("similar", ""),
        ("similar", "live"),
        ("popular", ""),
    ],
    ids=" ".join,
)
async def retrieve(
    request: pytest.FixtureRequest,
    database: Database,
    cache: Cache,
    embeddings: ActiveArtifact[EmbeddingIndex],
    factors: ActiveArtifact[Factors],
) -> AsyncIterator[Retrieve]:
    """One retriever's answer with at most so many candidates; each finds at least three products."""
    assert factors.current is not None
    model = factors.current.value
    catalogue = LiveCatalogue(database, embeddings)
    if request.param[1] == "live":
        await catalogue.start(wait_s=10)

    async def keyword(limit: int) -> Retrieved:
        return (await KeywordRetriever(database, limit=limit).retrieve(SearchRequest(q="red wine")))[0]

    async def semantic(limit: int) -> Retrieved:
        retriever = SemanticRetriever(embeddings, catalogue, limit=limit, min_cosine=-1, widening=1)
        return (await retriever.retrieve(SearchRequest(q="red wine")))[0]

    async def collaborative(limit: int) -> Retrieved:
        retriever = CollaborativeRetriever(catalogue, limit=limit, widening=1)
        user = RecommendationRequest(user_id="drinker")
        return (await retriever.retrieve(user, model, model.user_factors[0], without=frozenset()))[0]

    async def similar(limit: int) -> Retrieved:
        retriever = SimilarRetriever(catalogue, limit=limit, rrf_k=60, widening=1)
        return (await retriever.retrieve(RecommendationRequest(product_ids=["p1"]), factors=model))[0]

    async def popular(limit: int) -> Retrieved:
        return (await PopularRetriever(database, cache, limit=limit).retrieve(RecommendationRequest())).retrieved

    every: dict[str, Retrieve] = {one.__name__: one for one in (keyword, semantic, collaborative, similar, popular)}
    yield every[request.param[0]]
    await catalogue.stop()


class TestEveryRetriever:
    async def test_returns_each_product_once(self, retrieve: Retrieve) -> None:
        found = await retrieve(10)
        assert len(found.product_ids) >= 3
        assert len(set(found.product_ids)) == len(found.product_ids)

    async def test_returns_one_score_a_product_best_first_equal_scores_by_id(self, retrieve: Retrieve) -> None:
        found = await retrieve(10)
        pairs = list(zip(-found.scores, found.product_ids, strict=True))
        assert pairs == sorted(pairs)

    async def test_returns_no_more_than_asked_for_and_says_that_there_are_more(self, retrieve: Retrieve) -> None:
        found = await retrieve(2)
        assert len(found.product_ids) == 2
        assert found.truncated

    async def test_a_shorter_list_is_the_beginning_of_a_longer_one(self, retrieve: Retrieve) -> None:
        assert (await retrieve(2)).product_ids == (await retrieve(3)).product_ids[:2]

    async def test_returns_the_same_again(self, retrieve: Retrieve) -> None:
        first, second = await retrieve(10), await retrieve(10)
        assert first.product_ids == second.product_ids
        assert first.scores.tolist() == second.scores.tolist()
