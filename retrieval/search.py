"""Candidates for a query: keyword and semantic side by side, fused, hydrated."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from artifacts.embedding_index import EmbeddingIndex
from artifacts.held import Held
from contracts.candidates import Retrieval, Retrieved
from contracts.deadline import Deadline
from contracts.requests import SearchRequest
from contracts.stages import Stage
from retrieval.assembly import Found, assemble
from retrieval.config import RetrievalConfig
from retrieval.hydration import Hydrator
from retrieval.keyword_search import RETRIEVER_SHARE, KeywordSearch, Outcome, unless_found
from retrieval.live_catalogue import LiveCatalogue, Look, token_missed
from retrieval.semantic import SemanticRetriever
from retrieval.stage_run import not_requested, run_stage
from retrieval.threads import WorkThreads
from storage.breakers import Breakers
from storage.cache import Cache
from storage.database import Database

# What reading the changes that a consistency token covers may take of the time left, before the search by meaning.
REACH_SHARE = 0.3


class SearchRetrieval:
    """
    The search half of retrieval: candidates only, no order.

    Args:
        embeddings: The embedding index, the active one or one on trial.
        cache: Holds features of candidates; None in a process without one.
        catalogue: The live catalogue over the index; None: the trained index as it is.
        breakers: Those of the process; None: of its own.
        threads: Where to search by meaning; None: in threads of its own.

    Attributes:
        threads: Where it searches by meaning.
    """

    def __init__(
        self,
        database: Database,
        embeddings: Held[EmbeddingIndex],
        config: RetrievalConfig,
        *,
        cache: Cache | None = None,
        catalogue: LiveCatalogue | None = None,
        breakers: Breakers | None = None,
        threads: WorkThreads | None = None,
    ) -> None:
        self._catalogue = catalogue or LiveCatalogue(database, embeddings)
        self._keyword = KeywordSearch(database, config)
        self._semantic = SemanticRetriever(
            embeddings,
            self._catalogue,
            limit=config.semantic_limit,
            min_cosine=config.min_cosine,
            widening=config.filter_widening,
            breaker=(breakers or Breakers()).of("semantic"),
            threads=threads,
        )
        self.threads = self._semantic.threads
        self._hydrator = Hydrator(database, cache, catalogue=self._catalogue)
        self._limit = config.search_limit

    async def retrieve(self, request: SearchRequest, *, timeout_s: float) -> Retrieval:
        """
        Return the candidates for *request* within *timeout_s*.

        When the only retriever asked for fails, the other stands in. Stages tell what fails; nothing is raised.
        """
        deadline = Deadline.in_seconds(timeout_s)
        found = await self._candidates(request, deadline)
        return await assemble(found, request, deadline, hydrator=self._hydrator, fusing=self._keyword.fusing)

    async def meant(self, request: SearchRequest, *, timeout_s: float) -> tuple[Retrieved | None, Stage]:
        """Return what the search by meaning finds and nothing else, to look at."""
        result, stage = await run_stage("semantic", self._semantic.retrieve(request), timeout_s=timeout_s)
        return (None if result is None else result[0]), stage

    async def _candidates(self, request: SearchRequest, deadline: Deadline) -> Found:
        found = Found(relevance=True, index=self._catalogue.loaded, limit=self._limit)
        keyword: Outcome = (None, not_requested("keyword"))
        semantic: Outcome = (None, not_requested("semantic"))
        if request.mode == "hybrid":
            keyword, semantic = await self._both_ways(request, deadline, found)
        elif request.mode == "keyword":
            keyword = await self._keyword.find(request, deadline, found)
            if keyword[0] is None:
                semantic, _ = await self._by_meaning(request, deadline, found)
        else:
            semantic, _ = await self._by_meaning(request, deadline, found)
            if semantic[0] is None:
                keyword = await self._keyword.find(request, deadline, found)
        found.lists = [retrieved for retrieved, _ in (keyword, semantic) if retrieved is not None]
        found.stages = [_stood_in_for(keyword[1], semantic), _stood_in_for(semantic[1], keyword)]
        found.answered = bool(found.lists)
        return found

    async def _both_ways(self, request: SearchRequest, deadline: Deadline, found: Found) -> tuple[Outcome, Outcome]:
        """By words and by meaning, side by side; what only words found is rated by meaning too."""
        keyword, ((near, stage), look) = await asyncio.gather(
            self._keyword.find(request, deadline, found), self._by_meaning(request, deadline, found)
        )
        if keyword[0] is not None and near is not None:
            near = self._semantic.rating(near, look, request, keyword[0].product_ids)
        return keyword, (near, stage)

    async def _by_meaning(self, request: SearchRequest, deadline: Deadline, found: Found) -> tuple[Outcome, Look]:
        missed = await token_missed(self._catalogue, request, timeout_s=deadline.left_s(REACH_SHARE))
        result, stage = await run_stage(
            "semantic", self._semantic.retrieve(request), timeout_s=deadline.left_s(RETRIEVER_SHARE)
        )
        if result is None:
            return (None, stage), Look()
        retrieved, look = result
        found.index, found.changes = look.loaded, look.position
        if look.keep is None and request.filtered:
            # Which of them pass, hydration finds out.
            found.limit = None
        stage = replace(stage, source=retrieved.source)
        if missed is not None:
            return (retrieved, replace(stage, status="fallback", fallback="stale index", cause=missed)), look
        return (retrieved, unless_found(stage, retrieved)), look


def _stood_in_for(stage: Stage, other: Outcome) -> Stage:
    """A retriever that failed names the one that answered."""
    if stage.degraded and stage.status == "skipped" and other[0] is not None:
        return replace(stage, status="fallback", fallback=other[1].name)
    return stage
