"""What an answer depended on: the versions it was made with and how fresh its reads were."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Versions:
    """
    For equal versions and equal features the hits of a request are byte-identical.

    Attributes:
        index: Version of the active ``embeddings`` artifact.
        changes: Position of the last catalogue change the answer could see.
        vocabulary: Version of the text-search configuration.
        popularity: Version of the popularity counts.
        cf: Version of the active ``collaborative`` artifact.
        weights: Hash of the ranking configuration.
        config: Hash of the graph configuration.
    """

    index: str | None = None
    changes: str | None = None
    vocabulary: str | None = None
    popularity: str | None = None
    cf: str | None = None
    weights: str | None = None
    config: str | None = None


@dataclass(frozen=True, slots=True)
class Freshness:
    """
    What the reads of an answer saw.

    Attributes:
        read_from: Which database answered.
        replica_lag_ms: How far it lagged, in milliseconds.
        index_age_s: How old the index is, in seconds.
        consistent: Whether they saw what the request's consistency token covers; None without a token.
    """

    read_from: str | None = None
    replica_lag_ms: int | None = None
    index_age_s: int | None = None
    consistent: bool | None = None
