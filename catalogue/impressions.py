"""Impressions: what an answer showed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal


@dataclass(frozen=True, slots=True)
class Impression:
    """
    One answer, as it was shown.

    Args:
        request_id: The answer's; events name it to say what they followed from.
        kind: Which endpoint answered.
        shown_at: When.
        product_ids: Length n, in the order shown.
        ranks: Length n, from 1 within the whole answer, so that a later page starts higher.
        scores: Length n.
        user_id: For whom, if known.
        query: The query of a search.
        features: Length n or empty: the features each product was ranked by.
        versions: What the answer was made with.
    """

    request_id: str
    kind: Literal["search", "recommendations"]
    shown_at: datetime
    product_ids: Sequence[str]
    ranks: Sequence[int]
    scores: Sequence[float]
    user_id: str | None = None
    query: str | None = None
    features: Sequence[Mapping[str, float | None]] = field(default=())
    versions: Mapping[str, object] = field(default_factory=dict)
