"""How widely retrieval looks."""

# Pydantic reads these annotations at run time.
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Limit = Annotated[int, Field(ge=1, le=10_000)]


class RetrievalConfig(BaseModel):
    """
    Limits of candidate generation.

    Attributes:
        keyword_limit: Most candidates by words.
        semantic_limit: Most candidates by meaning.
        search_limit: Most candidates of a search: the most relevant of those found by words and by meaning.
        min_cosine: Least cosine between query and product for a candidate by meaning; what lies below is noise.
        filter_widening: How many times the limits by meaning, preference and likeness are looked at for a request with
            filters, while the columns that filters need are not in memory (the database is down since the start).
        collaborative_limit: Most candidates by predicted preference.
        similar_limit: Most candidates like given products.
        popular_limit: Most candidates by popularity; more than the others, since a user may own many of them.
        keyword_weight: Share of relevance by words in that of a search by words and meaning; the rest is by meaning.
        rrf_k: How slowly a lower rank loses weight where products like given ones are found in several ways.
        feed_period_s: Seconds between two readings of the products' changes.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    keyword_limit: Limit = 500
    semantic_limit: Limit = 200
    search_limit: Limit = 300
    min_cosine: Annotated[float, Field(ge=-1, le=1)] = 0.3
    filter_widening: Limit = 10
    collaborative_limit: Limit = 200
    similar_limit: Limit = 200
    popular_limit: Limit = 500
    keyword_weight: Annotated[float, Field(gt=0, lt=1)] = 0.31
    rrf_k: Annotated[int, Field(ge=0, le=1000)] = 60
    feed_period_s: Annotated[float, Field(gt=0, le=60)] = 0.5
