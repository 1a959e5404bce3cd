"""
What a write did, as it is acknowledged: after the commit.

``token`` is the text of a `ConsistencyToken` that covers the write, or None where the primary could not say.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Written:
    """``changed`` counts the products that were not already as sent."""

    changed: int
    token: str | None


@dataclass(frozen=True, slots=True)
class Deleted:
    """``existed`` says whether there was such a product."""

    existed: bool
    token: str | None


@dataclass(frozen=True, slots=True)
class EventsAdded:
    """``accepted`` events were new; ``duplicates`` were there already, by id, or twice in the batch."""

    accepted: int
    duplicates: int
    token: str | None
