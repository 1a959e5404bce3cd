"""Retrievers' lists into one retrieval: fused, hydrated, versions and freshness noted."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np

from artifacts.active import Loaded
from contracts.candidates import Profile, Retrieval, Retrieved
from contracts.deadline import Deadline
from contracts.requests import ReadRequest
from contracts.stages import Stage
from contracts.versions import Versions
from retrieval.fusion import fuse
from retrieval.hydration import Hydrator, without_features
from retrieval.reads import read_freshness, read_stage
from retrieval.stage_run import run_stage
from storage.database import ReadSource


@dataclass(slots=True)
class Found:
    """
    What the retrievers of one request gave.

    Attributes:
        lists: The lists to fuse.
        stages: What each retriever did.
        sources: The databases that answered.
        answered: Whether any retriever could be asked.
        relevance: Whether the fused score is relevance to a query or to given products.
        profile: The user, where the request names one.
        index: The embedding index that was looked in, if any.
        cf: The factor model that was looked in, if any.
    """

    lists: list[Retrieved] = field(default_factory=list)
    stages: list[Stage] = field(default_factory=list)
    sources: list[ReadSource] = field(default_factory=list)
    answered: bool = False
    relevance: bool = False
    profile: Profile | None = None
    index: Loaded[Any] | None = None
    cf: Loaded[Any] | None = None


async def assemble(
    found: Found,
    request: ReadRequest,
    deadline: Deadline,
    *,
    hydrator: Hydrator,
    rrf_k: int,
) -> Retrieval:
    """
    Return *found* as one retrieval, its candidates hydrated within *deadline*.

    When nothing can be read about the candidates they stay as retrieved; but if the request has filters, none stays,
    since none can be shown to pass them.
    """
    fused = fuse(found.lists, k=rrf_k)
    hydrated, stage = await run_stage(
        "hydrate",
        hydrator.candidates(fused, request=request, relevance=found.relevance),
        timeout_s=deadline.left_s(),
    )
    sources = [*found.sources, *(hydrated.sources if hydrated else ())]
    unfiltered = hydrated is None and request.filtered
    candidates = hydrated.candidates if hydrated else without_features(fused, relevance=found.relevance)
    if unfiltered:
        candidates = candidates.only(np.zeros(len(candidates), dtype=np.bool_))
    return Retrieval(
        candidates=candidates,
        truncated=any(retrieved.truncated for retrieved in found.lists),
        answered=found.answered and not unfiltered,
        stages=[*found.stages, read_stage(stage, hydrated.sources) if hydrated else stage],
        versions=Versions(
            index=found.index.version if found.index else None,
            changes=hydrated.changes if hydrated else None,
            vocabulary=hydrated.vocabulary if hydrated else None,
            popularity=hydrated.popularity_version if hydrated else None,
            cf=found.cf.version if found.cf else None,
        ),
        freshness=read_freshness(sources, index_age_s=_age_s(found.index)),
        profile=found.profile,
    )


def _age_s(index: Loaded[Any] | None) -> int | None:
    return int((datetime.now(UTC) - index.manifest.created_at).total_seconds()) if index else None
