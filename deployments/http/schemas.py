"""The shapes of the answers, for /openapi.json; real answers are checked against them by the tests."""

# Pydantic reads these annotations at run time.
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from catalogue.products import Product
from contracts.stages import Cause, StageName, Status


class _Exact(BaseModel):
    model_config = ConfigDict(extra="forbid")


class StageBody(_Exact):
    """What one part of the graph did."""

    name: StageName
    status: Status
    source: str | None
    fallback: str | None
    cause: Cause | None
    ms: float


class VersionsBody(_Exact):
    """For equal versions and equal features the hits are byte-identical."""

    index: str | None
    changes: str | None
    vocabulary: str | None
    popularity: str | None
    cf: str | None
    weights: str | None
    config: str | None


class FreshnessBody(_Exact):
    """Which database answered, how fresh it was, and whether the read saw what its consistency token covers."""

    read_from: str | None
    replica_lag_ms: int | None
    index_age_s: int | None
    consistent: bool | None


class PlacingBody(_Exact):
    """Where a retriever placed the hit, with its raw score."""

    rank: int
    score: float


class ExplainBody(_Exact):
    """How the score came about; the contributions add up to it."""

    features: dict[str, float | None]
    weights: dict[str, float]
    contributions: dict[str, float]
    rules: list[str]
    retrievers: dict[str, PlacingBody]


class ReasonBody(_Exact):
    """Why the hit is there."""

    code: str


class HitBody(_Exact):
    """One product in its place."""

    id: str
    rank: int
    score: float
    product: Product | None
    reason: ReasonBody
    explain: ExplainBody | None = None


class TotalBody(_Exact):
    """How many products are in the whole order; ``gte`` when more may match."""

    value: int
    relation: Literal["eq", "gte"]


class ReadBody(_Exact):
    """The answer to a search or to a request for recommendations."""

    request_id: str
    took_ms: float
    hits: list[HitBody]
    total: TotalBody
    next_cursor: str | None
    degraded: bool
    stages: list[StageBody]
    versions: VersionsBody
    freshness: FreshnessBody


class ItemError(_Exact):
    """One wrong field of one item of a batch: ``index`` or ``line`` says which item, never both."""

    index: Annotated[int | None, Field(ge=0, description="The item's place in a JSON list, from 0.")] = None
    line: Annotated[int | None, Field(ge=1, description="The item's line in a body of lines, from 1.")] = None
    field: Annotated[str, Field(description="Empty where the item is no JSON object.")]
    message: str


class ProductsWritten(_Exact):
    """What a write of products did: ``changed`` counts those that were not already as sent."""

    request_id: str
    accepted: int
    changed: int
    rejected: int
    errors: list[ItemError]


class EventsWritten(_Exact):
    """What became of a batch of events: ``duplicates`` were already there, by id."""

    request_id: str
    accepted: int
    duplicates: int
    rejected: int
    errors: list[ItemError]


class ProblemBody(BaseModel):
    """RFC 9457 problem document."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    request_id: str
    retryable: bool
    errors: Annotated[
        list[dict[str, Any]],
        Field(description="Each wrong field: `field` and `message`, with the item's `index` or `line` in a batch."),
    ]
    outcome: Annotated[
        Literal["not_written", "unknown"] | None,
        Field(description="Of a write that was not acknowledged (503): nothing was written, or that is not known."),
    ] = None
