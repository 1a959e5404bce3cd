"""Query strings: the read requests where everything is text, and what other routes take."""

# FastAPI reads these annotations at run time.
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from contracts.requests import RecommendationRequest, SearchRequest


class SearchQuery(SearchRequest):
    """A search in the query string, where everything is text."""

    model_config = ConfigDict(strict=False)


class RecommendationQuery(RecommendationRequest):
    """A request for recommendations in the query string; lists repeat their parameter."""

    model_config = ConfigDict(strict=False)


class NoQuery(BaseModel):
    """No query parameters: unknown ones are refused everywhere."""

    model_config = ConfigDict(extra="forbid")


class UsersQuery(BaseModel):
    """How many users to name."""

    model_config = ConfigDict(extra="forbid")

    limit: Annotated[int, Field(ge=1, le=100)] = 20
