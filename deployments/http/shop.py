"""What the routes need of whatever is behind them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from catalogue.events import Event
from catalogue.products import BatchProduct
from contracts.answers import Answer
from contracts.deadline import Deadline
from contracts.requests import RecommendationRequest, SearchRequest
from contracts.writes import Deleted, EventsAdded, Written


class Shop(Protocol):
    """What the routes need: the gateway deployment, or anything that answers like it."""

    async def search(self, request: SearchRequest, *, offset: int, deadline: Deadline) -> Answer:
        """Answer a search by *deadline*."""

    async def recommend(self, request: RecommendationRequest, *, offset: int, deadline: Deadline) -> Answer:
        """Answer a request for recommendations by *deadline*."""

    def shown(self, request: SearchRequest | RecommendationRequest, answer: Answer, request_id: str) -> None:
        """Take note that the client is being shown *answer*; must not wait."""

    async def product(self, product_id: str) -> Mapping[str, Any] | None:
        """Return a product, or None."""

    async def put_products(self, products: list[BatchProduct], *, size_bytes: int) -> Written:
        """Write products, which came in a body of *size_bytes*; return after the commit."""

    async def delete_product(self, product_id: str) -> Deleted:
        """Delete a product; return after the commit."""

    async def add_events(self, events: list[Event], *, size_bytes: int) -> EventsAdded:
        """Write events, which came in a body of *size_bytes*; return after the commit."""

    async def sample_users(self, limit: int) -> list[str]:
        """Return users with many events."""

    async def health(self) -> Mapping[str, Any]:
        """Return the state of every part."""

    async def ready(self) -> bool:
        """Return whether a search or a recommendation could be answered at all."""
