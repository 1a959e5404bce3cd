from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from artifacts.active import ActiveArtifact
from artifacts.embedding_index import EmbeddingIndex
from contracts.requests import SearchRequest
from contracts.stages import Stage
from retrieval.config import RetrievalConfig
from retrieval.live_catalogue import LiveCatalogue
from retrieval.search import SearchRetrieval
from storage.breakers import Breakers
from storage.database import Database

REQUEST = SearchRequest(q="red wine", mode="semantic")


class HangingCatalogue(LiveCatalogue):
    """Looks for ever, until let go."""

    let_go: threading.Event

    def look(self, _request: object) -> None:  # type: ignore[override]  # it never returns a look
        self.let_go.wait()
        raise InterruptedError


@pytest.fixture
def hanging(database: Database, embeddings: ActiveArtifact[EmbeddingIndex]) -> Iterator[HangingCatalogue]:
    catalogue = HangingCatalogue(database, embeddings)
    catalogue.let_go = threading.Event()
    yield catalogue
    catalogue.let_go.set()


async def semantic_stage(search: SearchRetrieval, *, timeout_s: float = 10.0) -> Stage:
    answer = await search.retrieve(REQUEST, timeout_s=timeout_s)
    return next(stage for stage in answer.stages if stage.name == "semantic")


class TestSemanticBreaker:
    async def test_a_search_that_hangs_is_left_alone_after_five(
        self, database: Database, embeddings: ActiveArtifact[EmbeddingIndex], hanging: HangingCatalogue
    ) -> None:
        breakers = Breakers()
        search = SearchRetrieval(database, embeddings, RetrievalConfig(), catalogue=hanging, breakers=breakers)
        causes = [(await semantic_stage(search, timeout_s=0.5)).cause for _ in range(6)]
        assert causes == ["timeout"] * 5 + ["circuit_open"]
        stage = await semantic_stage(search)
        assert (stage.status, stage.fallback, stage.cause) == ("fallback", "keyword", "circuit_open")

    async def test_a_missing_index_is_no_failure(
        self, database: Database, no_embeddings: ActiveArtifact[EmbeddingIndex]
    ) -> None:
        breakers = Breakers()
        search = SearchRetrieval(database, no_embeddings, RetrievalConfig(), breakers=breakers)
        assert {(await semantic_stage(search)).cause for _ in range(6)} == {"artifact_missing"}
        assert breakers.of("semantic").status().outcomes == 0
