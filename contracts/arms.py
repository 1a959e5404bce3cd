"""Who takes part in a canary: a share of users, the same on every replica and for every page."""

from __future__ import annotations

import hashlib

from contracts.requests import ReadRequest, RecommendationRequest, SearchRequest

# What says how, or from where on, an answer is asked for.
NOT_WHAT_IS_ASKED = {"cursor", "limit", "timeout_ms", "degradation", "consistency_token", "explain"}


def in_share(share: float, version: str, subject: str) -> bool:
    """
    Return whether *subject* is among the *share* that gets *version*.

    It is a hash of both: another version tries its luck with other users, and a larger share holds the smaller one.
    """
    digest = hashlib.sha256(f"{version}:{subject}".encode()).digest()
    return int.from_bytes(digest[:8], "big") < share * 2**64


def personal_to(request: ReadRequest) -> str | None:
    """The user on whose events the answer to *request* depends, if any."""
    if isinstance(request, SearchRequest):
        return request.user_id
    if isinstance(request, RecommendationRequest) and request.kind != "popular":
        return request.user_id
    return None


def searcher(request: ReadRequest) -> str | None:
    """Who searches: the user, or where none is named what is asked for; None where *request* is no search."""
    if not isinstance(request, SearchRequest):
        return None
    return f"user {request.user_id}" if request.user_id else request.model_dump_json(exclude=NOT_WHAT_IS_ASKED)
