"""Candidates by words: Postgres full-text search."""

from __future__ import annotations

import numpy as np

from contracts.candidates import Retrieved
from contracts.requests import SearchRequest
from retrieval.money import exact
from storage.database import Database, ReadSource, Rows


class KeywordRetriever:
    """Finds the products whose text holds the query's words, those with all of them first."""

    def __init__(self, database: Database, *, limit: int) -> None:
        self._database = database
        self._limit = limit

    async def retrieve(self, request: SearchRequest) -> tuple[Retrieved, ReadSource]:
        """
        Return at most ``limit`` products that match *request* and its filters, best first, and who answered.

        The score lies in [0, 1) and is the relevance: how much of what the words say the product says too, rare words
        counting more, with a little for holding all of them and a little for popularity.

        Raises:
            DatabaseUnavailable: neither a read replica nor the primary answers.
        """
        rows = await self._matches(request)
        scores = np.array([record["score"] for record in rows.records], dtype=np.float64)
        retrieved = Retrieved(
            retriever="keyword",
            product_ids=[record["product_id"] for record in rows.records],
            scores=scores,
            truncated=len(rows.records) == self._limit,
            source=rows.source.name,
            revisions={record["product_id"]: record["revision"] for record in rows.records},
            relevance=scores,
        )
        return retrieved, rows.source

    async def _matches(self, request: SearchRequest) -> Rows:
        """The rows of the statement that a single rare word has for itself, or of the one for everything."""
        asked = (
            request.q,
            self._limit,
            request.category,
            None if request.price_min is None else exact(request.price_min),
            None if request.price_max is None else exact(request.price_max),
            request.in_stock,
        )
        if len(request.q.split()) == 1:
            rows = await self._database.fetch("keyword_rare_word", *asked, after=request.consistency_token)
            if rows.records:
                return rows
        return await self._database.fetch("keyword_candidates", *asked, after=request.consistency_token)
