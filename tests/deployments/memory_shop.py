"""A shop in memory: what the HTTP routes need, without Ray or a database."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import numpy as np

from catalogue.events import Event
from catalogue.products import BatchProduct
from contracts.answers import Answer
from contracts.candidates import Candidates
from contracts.deadline import Deadline
from contracts.ranked import RankRequest
from contracts.requests import ReadRequest, RecommendationRequest, SearchRequest
from contracts.stages import Stage
from contracts.versions import Freshness, Versions
from contracts.writes import Deleted, EventsAdded, Written
from ranking.rankers import WeightedRanker


class MemoryShop:
    """Every product matches every query; what a request asked for can be looked at afterwards."""

    def __init__(self) -> None:
        self.products: dict[str, BatchProduct] = {}
        self.events: dict[str, Event] = {}
        self.stages: list[Stage] = [Stage("keyword", source="memory"), Stage("rank")]
        self.versions = Versions(index="i1")
        self.answered = True
        self.is_ready = True
        self.token: str | None = "1-0/3A5F2B0"
        self.asked: list[ReadRequest] = []
        self.time_left_s: list[float] = []
        self.shown_ids: dict[str, list[str]] = {}

    async def search(self, request: SearchRequest, *, offset: int, deadline: Deadline) -> Answer:
        self.time_left_s.append(deadline.left_s())
        return self._answer(request, offset)

    async def recommend(self, request: RecommendationRequest, *, offset: int, deadline: Deadline) -> Answer:
        self.time_left_s.append(deadline.left_s())
        return self._answer(request, offset, frozenset(request.exclude_ids))

    def shown(self, request: SearchRequest | RecommendationRequest, answer: Answer, request_id: str) -> None:
        assert request in self.asked
        self.shown_ids[request_id] = [hit.product_id for hit in answer.page.hits]

    async def product(self, product_id: str) -> Mapping[str, Any] | None:
        return self._view(product_id) if product_id in self.products else None

    async def put_products(self, products: list[BatchProduct], *, size_bytes: int) -> Written:
        assert size_bytes > 0
        changed = sum(self.products.get(product.id) != product for product in products)
        self.products |= {product.id: product for product in products}
        return Written(changed, self.token)

    async def delete_product(self, product_id: str) -> Deleted:
        return Deleted(self.products.pop(product_id, None) is not None, self.token)

    async def add_events(self, events: list[Event], *, size_bytes: int) -> EventsAdded:
        assert size_bytes > 0
        fresh = {event.id or str(len(self.events) + number): event for number, event in enumerate(events)}
        new = fresh.keys() - self.events.keys()
        self.events |= fresh
        return EventsAdded(len(new), len(events) - len(new), self.token)

    async def sample_users(self, limit: int) -> list[str]:
        return [str(number) for number in range(limit)]

    async def health(self) -> Mapping[str, Any]:
        return {"status": "ok"}

    async def ready(self) -> bool:
        return self.is_ready

    def _answer(self, request: ReadRequest, offset: int, excluded: frozenset[str] = frozenset()) -> Answer:
        self.asked.append(request)
        product_ids = sorted(self.products)
        size = len(product_ids)
        ranked = RankRequest(
            Candidates(
                product_ids,
                search=np.linspace(1, 0, size),
                popularity=np.full(size, 0.5),
                age_days=np.full(size, np.nan),
                in_stock=np.ones(size, dtype=np.bool_),
                hidden=np.zeros(size, dtype=np.bool_),
            ),
            excluded_ids=excluded,
            offset=offset,
            limit=request.limit,
            explain=request.explain,
        )
        return Answer(
            page=WeightedRanker().rank(ranked),
            products={product_id: self._view(product_id) for product_id in product_ids},
            truncated=False,
            answered=self.answered,
            stages=self.stages,
            versions=self.versions,
            freshness=Freshness(read_from="memory"),
        )

    def _view(self, product_id: str) -> dict[str, Any]:
        product = self.products[product_id].model_dump(mode="json", exclude={"hidden"})
        return {**product, "created_at": product["created_at"] or datetime(2026, 1, 1, tzinfo=UTC).isoformat()}
