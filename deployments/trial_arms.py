"""A version on trial in the place of the active one, with all that it takes to answer."""

from __future__ import annotations

from typing import Protocol

from artifacts.embedding_index import EmbeddingIndex
from artifacts.factors import Factors
from artifacts.held import Held, Pinned
from artifacts.trial_watch import OnTrial
from contracts.candidates import Profile, Retrieval, Retrieved
from contracts.requests import ReadRequest, RecommendationRequest, SearchRequest
from contracts.stages import Stage
from retrieval.config import RetrievalConfig
from retrieval.live_catalogue import LiveCatalogue
from retrieval.recommendation import RecommendationRetrieval
from retrieval.search import SearchRetrieval
from retrieval.threads import WorkThreads
from storage.breakers import Breakers
from storage.cache import Cache
from storage.config import BreakerConfig
from storage.database import Database

CATCH_UP_S = 60.0
NICENESS = 10
Listed = tuple[Retrieved | None, Stage]


class Arm(Protocol):
    """Answers as the deployment does; `listed` is what the artifact alone finds."""

    async def start(self) -> None:
        """Return once it can answer."""

    async def stop(self) -> None:
        """Let go of what it holds."""

    async def retrieve(self, request: ReadRequest, *, timeout_s: float) -> Retrieval:
        """Return the candidates for *request* within *timeout_s*."""

    async def listed(self, request: ReadRequest, *, timeout_s: float) -> Listed:
        """Return the products that this version of the artifact finds, and its stage."""

    async def listed_by_active(self, request: ReadRequest, *, timeout_s: float) -> Listed:
        """Return the same of the active version, looked for under the same conditions."""


class SearchArm:
    """
    Search over another index, with live embeddings of its own; breakers too, so that its failures are its own.

    Args:
        embeddings: The active index, which *catalogue* is over.
    """

    def __init__(
        self,
        held: OnTrial[EmbeddingIndex],
        database: Database,
        cache: Cache,
        config: RetrievalConfig,
        breaker: BreakerConfig,
        *,
        embeddings: Held[EmbeddingIndex],
        catalogue: LiveCatalogue,
    ) -> None:
        # A shadow gives way to requests, and one thread asks both versions in turn.
        threads = WorkThreads("shadow", threads=1, niceness=NICENESS) if held.trial.mode == "shadow" else None
        pinned = Pinned(held.loaded)
        self._catalogue = LiveCatalogue(database, pinned, period_s=config.feed_period_s)
        breakers = Breakers(breaker)
        self._retrieval = SearchRetrieval(
            database, pinned, config, cache=cache, catalogue=self._catalogue, breakers=breakers, threads=threads
        )
        self._active = SearchRetrieval(database, embeddings, config, catalogue=catalogue, threads=threads)

    async def start(self) -> None:
        """Bring the index up to the catalogue's present state."""
        await self._catalogue.start(wait_s=CATCH_UP_S)

    async def stop(self) -> None:
        """End pulling changes."""
        await self._catalogue.stop()

    async def retrieve(self, request: ReadRequest, *, timeout_s: float) -> Retrieval:
        """As the search deployment does."""
        assert isinstance(request, SearchRequest)
        return await self._retrieval.retrieve(request, timeout_s=timeout_s)

    async def listed(self, request: ReadRequest, *, timeout_s: float) -> Listed:
        """What is found by meaning."""
        assert isinstance(request, SearchRequest)
        return await self._retrieval.meant(request, timeout_s=timeout_s)

    async def listed_by_active(self, request: ReadRequest, *, timeout_s: float) -> Listed:
        """What the active index finds by meaning."""
        assert isinstance(request, SearchRequest)
        return await self._active.meant(request, timeout_s=timeout_s)


class RecommendationArm:
    """
    Recommendations by another factor model.

    Args:
        active: The retrieval of the active model.
        catalogue: That of the active model too: it does not depend on factors.
    """

    def __init__(
        self,
        held: OnTrial[Factors],
        database: Database,
        cache: Cache,
        config: RetrievalConfig,
        *,
        active: RecommendationRetrieval,
        catalogue: LiveCatalogue,
    ) -> None:
        factors = Pinned(held.loaded)
        self._retrieval = RecommendationRetrieval(database, cache, config, factors=factors, catalogue=catalogue)
        self._active = active

    async def start(self) -> None:
        """Nothing to do: the model is loaded."""

    async def stop(self) -> None:
        """Nothing to let go of."""

    async def retrieve(self, request: ReadRequest, *, timeout_s: float) -> Retrieval:
        """As the recommendation deployment does."""
        assert isinstance(request, RecommendationRequest)
        return await self._retrieval.retrieve(request, timeout_s=timeout_s)

    async def profile(self, user_id: str, *, timeout_s: float, after: str | None) -> Profile:
        """Return the user's vector in the space of this model."""
        return await self._retrieval.profile(user_id, timeout_s=timeout_s, after=after)

    async def listed(self, request: ReadRequest, *, timeout_s: float) -> Listed:
        """What the model prefers for the user."""
        assert isinstance(request, RecommendationRequest)
        return await self._retrieval.preferred(request, timeout_s=timeout_s)

    async def listed_by_active(self, request: ReadRequest, *, timeout_s: float) -> Listed:
        """What the active model prefers."""
        assert isinstance(request, RecommendationRequest)
        return await self._active.preferred(request, timeout_s=timeout_s)
