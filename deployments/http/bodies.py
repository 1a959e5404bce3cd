"""Answers as JSON bodies, exactly as the contract says."""

from __future__ import annotations

from typing import Any

import orjson

from contracts.answers import Answer
from contracts.candidates import RetrieverName
from contracts.ranked import RankedHit
from contracts.stages import Stage

REASONS: dict[RetrieverName | None, str] = {
    "keyword": "keyword_match",
    "semantic": "semantic_match",
    "collaborative": "liked_by_similar_users",
    "similar": "similar_product",
    "popular": "popular",
    None: "candidate",
}


def answer_body(answer: Answer, *, request_id: str, took_ms: float, next_cursor: str | None) -> bytes:
    """The JSON of a successful read, degraded or not."""
    return orjson.dumps(
        {
            "request_id": request_id,
            "took_ms": round(took_ms, 1),
            "hits": [_hit(hit, answer) for hit in answer.page.hits],
            "total": {"value": answer.page.kept, "relation": "gte" if answer.truncated else "eq"},
            "next_cursor": next_cursor,
            "degraded": answer.degraded,
            "stages": answer.stages,
            "versions": answer.versions,
            "freshness": answer.freshness,
        },
        default=_plain,
    )


def degraded_header(stages: list[Stage]) -> str | None:
    """The value of X-Degraded: ``stage=cause`` pairs, or None when healthy."""
    return ", ".join(f"{stage.name}={stage.cause}" for stage in stages if stage.degraded) or None


def _hit(hit: RankedHit, answer: Answer) -> dict[str, Any]:
    body: dict[str, Any] = {
        "id": hit.product_id,
        "rank": hit.rank,
        "score": hit.score,
        "product": None if answer.products is None else answer.products.get(hit.product_id),
        "reason": {"code": REASONS[hit.retriever]},
    }
    if hit.explanation is not None:
        body["explain"] = {
            "features": hit.features,
            "weights": hit.explanation.weights,
            "contributions": hit.explanation.contributions,
            "rules": hit.explanation.rules,
            "retrievers": hit.explanation.retrievers,
        }
    return body


def _plain(value: object) -> object:
    raise TypeError(f"{type(value).__name__} has no place in an answer")
