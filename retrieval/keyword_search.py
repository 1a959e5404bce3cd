"""Search by words: half of a search, or all there is where nothing can be searched by meaning."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from contracts.candidates import Retrieval, Retrieved, RetrieverName
from contracts.deadline import Deadline
from contracts.requests import SearchRequest
from contracts.stages import Cause, Stage
from retrieval.assembly import Found, assemble
from retrieval.config import RetrievalConfig
from retrieval.epoch import read_epoch
from retrieval.fusion import Fusing, blend
from retrieval.hydration import Hydrator
from retrieval.keyword import KeywordRetriever
from retrieval.reads import read_stage
from retrieval.stage_run import not_requested, run_stage
from storage.cache import Cache
from storage.database import Database, ReadSource

# What retrievers may take of the time left, so that hydration still gets some.
RETRIEVER_SHARE = 0.6

# The same where words are all there is: hydration adds to what is shown, it is not what there is to show.
ALONE_SHARE = 0.75

Outcome = tuple[Retrieved | None, Stage]


class KeywordSearch:
    """
    Finds products by the words of a query. It needs a database and nothing else.

    Args:
        database: Where the words are.
        cache: Holds features of candidates; None in a process without one.

    Attributes:
        fusing: How lists become one.
    """

    def __init__(self, database: Database, config: RetrievalConfig, *, cache: Cache | None = None) -> None:
        self._database = database
        self._keyword = KeywordRetriever(database, limit=config.keyword_limit)
        self._hydrator = Hydrator(database, cache)
        self._limit = config.search_limit
        self.fusing = fusing(config)

    async def find(
        self, request: SearchRequest, deadline: Deadline, found: Found, *, share: float = RETRIEVER_SHARE
    ) -> Outcome:
        """
        Return the matches and the stage; *found* notes what was read of the catalogue, and where.

        Args:
            request: Its words.
            deadline: When there has to be an answer.
            found: Is told.
            share: Of the time left, which it may take.
        """
        result, stage = await run_stage("keyword", self._matches(request, found), timeout_s=deadline.left_s(share))
        if result is None:
            return None, stage
        retrieved, source = result
        found.sources.append(source)
        return retrieved, unless_found(read_stage(stage, [source]), retrieved)

    async def instead(self, request: SearchRequest, *, by: str, cause: Cause, timeout_s: float) -> Retrieval:
        """
        Return what words alone find within *timeout_s*, in place of a search that cannot be asked.

        Args:
            request: Words stand in for meaning even where only that was asked for.
            by: Who stands in.
            cause: Why the search cannot be asked.
            timeout_s: Most seconds for it.
        """
        deadline = Deadline.in_seconds(timeout_s)
        found = Found(relevance=True, limit=self._limit)
        retrieved, keyword = await self.find(request, deadline, found, share=ALONE_SHARE)
        if retrieved is not None:
            found.lists, found.answered = [retrieved], True
            if not keyword.degraded:
                keyword = replace(keyword, status="fallback", fallback=by, cause=cause)
        semantic = Stage("semantic", "skipped", cause=cause)
        if request.mode == "keyword":
            semantic = not_requested("semantic")
        elif request.mode == "semantic" and retrieved is not None:
            semantic = Stage("semantic", "fallback", fallback="keyword", cause=cause)
        found.stages = [keyword, semantic]
        return await assemble(found, request, deadline, hydrator=self._hydrator, fusing=self.fusing)

    async def _matches(self, request: SearchRequest, found: Found) -> tuple[Retrieved, ReadSource]:
        """The matches, read after the epoch, so that they are not older than what the answer says it saw."""
        found.epoch, source = await read_epoch(self._database, after=request.consistency_token)
        found.sources.append(source)
        return await self._keyword.retrieve(request)


def fusing(config: RetrievalConfig) -> Fusing:
    """How the lists of a search become one."""
    weights: dict[RetrieverName, float] = {"keyword": config.keyword_weight, "semantic": 1 - config.keyword_weight}
    return partial(blend, weights=weights)


def unless_found(stage: Stage, retrieved: Retrieved) -> Stage:
    """A retriever that found nothing says so, unless it has something worse to say."""
    return stage if retrieved.product_ids or stage.cause else replace(stage, cause="no_match")
