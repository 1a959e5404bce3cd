"""What ranking is asked and what it answers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from contracts.candidates import Candidates, RetrieverName


@dataclass(frozen=True, slots=True)
class RankRequest:
    """
    Candidates to put in order.

    Attributes:
        candidates: The products in the running.
        user_vector: float32, shape (factors,), or None when the answer is not personal.
        user_vector_version: The collaborative artifact the vector belongs to.
        excluded_ids: Products that must not appear.
        keep_out_of_stock: Whether products out of stock may appear.
        offset: Hits to pass over, for the pages after the first.
        limit: Most hits to return.
        explain: Whether to say how each score came about.
    """

    candidates: Candidates
    user_vector: npt.NDArray[np.float32] | None = None
    user_vector_version: str | None = None
    excluded_ids: frozenset[str] = frozenset()
    keep_out_of_stock: bool = False
    offset: int = 0
    limit: int = 10
    explain: bool = False


@dataclass(frozen=True, slots=True)
class Explanation:
    """
    How one score came about: the contributions add up to it.

    Attributes:
        weights: The effective weights, after an absent feature's weight went to the present ones.
        contributions: Name to feature x weight, six decimals.
        rules: The rules that touched this hit.
        retrievers: Who found it, at which rank, with which raw score.
    """

    weights: dict[str, float]
    contributions: dict[str, float]
    rules: list[str]
    retrievers: dict[RetrieverName, dict[str, float]]


@dataclass(frozen=True, slots=True)
class RankedHit:
    """
    One product in its place.

    Attributes:
        product_id: The product.
        rank: From 1, over the whole order.
        score: Six decimals.
        retriever: Who placed it highest.
        features: Name to value in [0, 1]; None where absent.
        explanation: How the score came about, when asked for.
    """

    product_id: str
    rank: int
    score: float
    retriever: RetrieverName | None
    features: dict[str, float | None]
    explanation: Explanation | None = None


@dataclass(frozen=True, slots=True)
class RankedPage:
    """
    One page of the order.

    Attributes:
        hits: Best first.
        kept: How many candidates the rules kept, over all pages.
        removed: Rule name to the number of candidates it removed.
        weights_version: Hash of the ranking configuration.
        cf_version: The collaborative artifact ranking holds.
        version_mismatch: Whether the user vector belongs to an artifact ranking does not hold (``cf`` is absent).
    """

    hits: list[RankedHit]
    kept: int
    removed: dict[str, int]
    weights_version: str
    cf_version: str | None
    version_mismatch: bool
