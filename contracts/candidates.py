"""Candidates: products in the running for one answer, as parallel arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

from contracts.stages import Stage
from contracts.versions import Freshness, Versions

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

RetrieverName = Literal["keyword", "semantic", "collaborative", "similar", "popular"]


@dataclass(frozen=True, slots=True)
class Retrieved:
    """
    One retriever's answer.

    Attributes:
        retriever: Who found them.
        product_ids: Best first, each once.
        scores: float64, shape (n,), in the retriever's own unit (``relevance``, ``cosine``, ``dot``, ``popularity``).
        truncated: Whether more products matched than were returned.
        source: Where they came from.
        revisions: For the products whose revision (``updated_at``, microseconds since 1970) the retriever knows, that.
        relevance: Relevance to the query in [0, 1], shape (n,), by a transform that is the same for every request; None
            where there is no query.
        elsewhere: The same relevance of products that only other retrievers found, as far as it is known.
    """

    retriever: RetrieverName
    product_ids: list[str]
    scores: FloatArray
    truncated: bool
    source: str
    revisions: Mapping[str, int] = field(default_factory=dict)
    relevance: FloatArray | None = None
    elsewhere: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Placing:
    """
    Where one retriever placed each candidate.

    Attributes:
        ranks: int64, shape (n,), from 1; 0 where this retriever did not find the candidate.
        scores: float64, shape (n,), the retriever's own score; NaN where it did not find the candidate.
    """

    ranks: IntArray
    scores: FloatArray


@dataclass(frozen=True, slots=True)
class Candidates:
    """
    n candidates, row by row.

    Attributes:
        product_ids: Length n, each once.
        search: Relevance to the query in [0, 1], shape (n,); NaN where there is no query.
        popularity: In [0, 1], shape (n,); NaN where the catalogue has no count.
        age_days: Whole days between the product's creation and the end of the data window, shape (n,); NaN if unknown.
        in_stock: Shape (n,).
        hidden: Shape (n,); products the shop does not want shown.
        placings: For each retriever that took part, where it placed the candidates.
        categories: Length n, None where a product has none or it is not known; or empty, where that is so of all.
    """

    product_ids: list[str]
    search: FloatArray
    popularity: FloatArray
    age_days: FloatArray
    in_stock: BoolArray
    hidden: BoolArray
    placings: dict[RetrieverName, Placing] = field(default_factory=dict)
    categories: list[str | None] = field(default_factory=list)

    def __len__(self) -> int:
        """The number of candidates."""
        return len(self.product_ids)

    def only(self, keep: BoolArray) -> Candidates:
        """The candidates where *keep*, shape (n,), is true, in the same order."""
        return Candidates(
            product_ids=[product_id for product_id, kept in zip(self.product_ids, keep, strict=True) if kept],
            search=self.search[keep],
            popularity=self.popularity[keep],
            age_days=self.age_days[keep],
            in_stock=self.in_stock[keep],
            hidden=self.hidden[keep],
            placings={
                name: Placing(ranks=placing.ranks[keep], scores=placing.scores[keep])
                for name, placing in self.placings.items()
            },
            categories=[each for each, kept in zip(self.categories, keep, strict=True) if kept]
            if self.categories
            else [],
        )


@dataclass(frozen=True, slots=True)
class Profile:
    """
    What is known of a user.

    Attributes:
        user_id: The user.
        vector: float32, shape (factors,), in the space of the collaborative artifact *version*; None when unknown.
        version: The collaborative artifact the vector belongs to.
        owned: Products the user bought or rated, which recommendations leave out.
        stage: How the look-up went.
        event_count: How many events the user had when they were looked up; None if they were not.
    """

    user_id: str
    vector: npt.NDArray[np.float32] | None
    version: str | None
    owned: frozenset[str]
    stage: Stage
    event_count: int | None = None


@dataclass(frozen=True, slots=True)
class Retrieval:
    """
    Candidates, and what there is to say about how they were found.

    Attributes:
        candidates: The products in the running, in no order that counts.
        truncated: Whether a retriever was cut off, so that more products may match.
        answered: Whether any retriever could be asked; if not, no candidates does not mean that nothing matches.
        stages: What each part did.
        versions: What the candidates and their features depended on.
        freshness: Which database answered and how fresh it was.
        profile: The user, where the request names one.
    """

    candidates: Candidates
    truncated: bool
    answered: bool
    stages: list[Stage]
    versions: Versions
    freshness: Freshness
    profile: Profile | None = None

    @classmethod
    def empty(cls, stages: list[Stage]) -> Retrieval:
        """The retrieval of a part that could not be asked."""
        none = np.empty(0)
        nothing = np.empty(0, dtype=np.bool_)
        return cls(
            candidates=Candidates([], search=none, popularity=none, age_days=none, in_stock=nothing, hidden=nothing),
            truncated=False,
            answered=False,
            stages=stages,
            versions=Versions(),
            freshness=Freshness(),
        )
