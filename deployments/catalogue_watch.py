"""The catalogue that a replica holds in memory, kept up to date beside the requests."""

from __future__ import annotations

from artifacts.active import ActiveArtifact
from artifacts.embedding_index import EmbeddingIndex
from retrieval.config import RetrievalConfig
from retrieval.live_catalogue import LiveCatalogue
from storage.database import Database

FIRST_READ_S = 60.0


async def watch_catalogue(
    database: Database, embeddings: ActiveArtifact[EmbeddingIndex], config: RetrievalConfig
) -> LiveCatalogue:
    """Return the live catalogue over *embeddings*; waits until it is read, or the database turns out to be down."""
    catalogue = LiveCatalogue(database, embeddings, period_s=config.feed_period_s)
    await catalogue.start(wait_s=FIRST_READ_S)
    return catalogue
