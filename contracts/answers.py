"""What the gateway answers a read with, before it becomes JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from contracts.ranked import RankedPage
from contracts.stages import RETRIEVERS, Stage, StageName
from contracts.versions import Freshness, Versions

READ_FROM_THE_DATABASE: frozenset[StageName] = frozenset({"keyword", "popular", "profile", "hydrate"})


@dataclass(frozen=True, slots=True)
class Answer:
    """
    One page of hits with everything there is to say about it.

    Attributes:
        page: The hits in order.
        products: Product id to its attributes. A hit of which none could be read is not in it; None when that are all.
        truncated: Whether a retriever was cut off, so that the total is a lower bound.
        answered: Whether any retriever could be asked; if not, there is nothing to show.
        stages: What each part did, in the order data flows.
        versions: What the order depended on.
        freshness: Which database answered and how fresh it was.
        event_count: How many events of the user were taken into account; None where that is not known or none is named.
        cache_status: How the result cache served it, as the header of that name says it.
    """

    page: RankedPage
    products: Mapping[str, Mapping[str, Any]] | None
    truncated: bool
    answered: bool
    stages: list[Stage]
    versions: Versions
    freshness: Freshness
    event_count: int | None = None
    cache_status: str | None = None

    @property
    def degraded(self) -> bool:
        """Whether any part did not do its work."""
        return any(stage.degraded for stage in self.stages)

    @property
    def missed_deadline(self) -> bool:
        """Whether there is nothing to show because the time ran out."""
        return not self.answered and any(stage.cause == "timeout" for stage in self.stages)

    @property
    def consistent(self) -> bool:
        """
        Whether everything in it was read after what the request's consistency token covers.

        What is read from the database must have been; of the retrievers one that saw the write is enough.
        """
        unread = any(stage.name in READ_FROM_THE_DATABASE and stage.may_change_hits for stage in self.stages)
        retrievers = [stage for stage in self.stages if stage.name in RETRIEVERS and stage.cause != "not_requested"]
        return not unread and not (retrievers and all(stage.may_change_hits for stage in retrievers))

    @property
    def may_differ(self) -> bool:
        """Whether the hits may differ from those of a healthy answer."""
        return any(stage.may_change_hits for stage in self.stages)
