"""How the result cache served a request, and the header that says so."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

CACHE_NAME = "Shortlist"

Detail = Literal[
    "consistency-token",
    "versions-unknown",
    "user-unread",
    "not-configured",
    "unavailable",
    "degraded",
    "versions-moved",
    "storing",
    "not-stored",
]


@dataclass(frozen=True, slots=True)
class CacheOutcome:
    """
    What became of one request.

    Attributes:
        status: ``hit``: the answer was kept; ``miss``: it was made; ``bypass``: it was made without asking the cache.
        ttl_s: Seconds for which a hit may still be used.
        collapsed: Whether it was being made for another request already.
        detail: Why the cache was not asked, or why the answer is not kept. ``storing``: it is being kept, and nobody
            waits to see whether that works; RFC 9211's ``stored`` would say that it has. With a hit ``user-unread``:
            it is for the user's events as they were last seen.
    """

    status: Literal["hit", "miss", "bypass"]
    ttl_s: int | None = None
    collapsed: bool = False
    detail: Detail | None = None


def cache_status(outcome: CacheOutcome) -> str:
    """
    Return the value of ``Cache-Status`` for *outcome*, e.g. ``Shortlist; hit; ttl=212``.

    Source:
        RFC 9211, "The Cache-Status HTTP Response Header Field", 2022.
    """
    if outcome.status == "hit":
        parts = [CACHE_NAME, "hit", f"ttl={outcome.ttl_s}"]
    else:
        parts = [CACHE_NAME, f"fwd={outcome.status}"]
    if outcome.collapsed:
        parts.append("collapsed")
    if outcome.detail is not None:
        parts.append(f"detail={outcome.detail}")
    return "; ".join(parts)
