"""Retrievers' lists into one retrieval: fused, hydrated, versions and freshness noted."""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np

from artifacts.active import Loaded
from contracts.candidates import Candidates, Profile, Retrieval, Retrieved, RetrieverName
from contracts.deadline import Deadline, time_limit
from contracts.requests import ReadRequest
from contracts.stages import Stage
from contracts.versions import Versions
from retrieval.epoch import Epoch
from retrieval.fusion import Fusing
from retrieval.hydration import Hydrated, Hydrator, without_features
from retrieval.reads import one_database, read_freshness, read_stage
from retrieval.remembered import Remembered
from retrieval.stage_run import run_stage
from storage.database import ReadSource

# What the database may take of the time left for hydration, so that something is left for doing without it.
DATABASE_SHARE = 0.8

REMEMBERED = "cached attributes"
"""What stands in for a database: what the cache and the catalogue in memory know."""

# Retrievers whose revisions come with the rows, and not from a copy that follows the database.
READ_FROM_THE_DATABASE: frozenset[RetrieverName] = frozenset({"keyword", "popular"})


@dataclass(frozen=True, slots=True)
class _Bare:
    """Candidates of which nothing is known."""

    candidates: Candidates


@dataclass(slots=True)
class Found:
    """
    What the retrievers of one request gave.

    Attributes:
        lists: The lists to fuse.
        stages: What each retriever did.
        epoch: What of the catalogue its reads saw, at least; None if that could not be read.
        sources: The databases that answered about the catalogue.
        cache_down: Whether the cache failed already, so that it need not be waited for again.
        answered: Whether any retriever could be asked.
        relevance: Whether the fused score is relevance to a query or to given products.
        limit: Most candidates to go on with, the best by the fused score; None: all.
        profile: The user, where the request names one.
        index: The embedding index that was looked in, if any.
        changes: The position of the live catalogue that was looked in, if any.
        cf: The factor model that was looked in, if any.
    """

    lists: list[Retrieved] = field(default_factory=list)
    stages: list[Stage] = field(default_factory=list)
    epoch: Epoch | None = None
    sources: list[ReadSource] = field(default_factory=list)
    cache_down: bool = False
    answered: bool = False
    relevance: bool = False
    limit: int | None = None
    profile: Profile | None = None
    index: Loaded[Any] | None = None
    changes: str | None = None
    cf: Loaded[Any] | None = None


async def assemble(
    found: Found,
    request: ReadRequest,
    deadline: Deadline,
    *,
    hydrator: Hydrator,
    fusing: Fusing,
) -> Retrieval:
    """
    Return *found* as one retrieval, its candidates hydrated within *deadline*.

    When no database can be read the candidates are as the catalogue in memory and the cache know them. When these know
    nothing either they stay as retrieved; but if the request has filters, none stays, since none can be shown to pass
    them.
    """
    every = fusing(found.lists)
    fused = every if found.limit is None else every.first(found.limit)
    revisions = _revisions(found.lists, frozenset(fused.product_ids))
    reading = hydrator.candidates(
        fused,
        request=request,
        relevance=found.relevance,
        epoch=found.epoch,
        revisions=revisions,
        cached=not found.cache_down,
    )
    hydrated, stage = await _hydrated(found, reading, timeout_s=deadline.left_s(DATABASE_SHARE))
    sources = [*found.sources, *(hydrated.sources if hydrated else ())]
    known = None
    if hydrated is None:
        remembering = hydrator.remembered(
            fused, request=request, relevance=found.relevance, revisions=revisions, cached=not found.cache_down
        )
        known = await _within(deadline, remembering)
    if known is not None:
        stage = replace(stage, status="fallback", fallback=REMEMBERED)
    unfiltered = hydrated is None and known is None and request.filtered
    candidates = (hydrated or known or _Bare(without_features(fused, relevance=found.relevance))).candidates
    if unfiltered:
        candidates = candidates.only(np.zeros(len(candidates), dtype=np.bool_))
    return Retrieval(
        candidates=candidates,
        truncated=len(fused.product_ids) < len(every.product_ids) or any(one.truncated for one in found.lists),
        answered=found.answered and not unfiltered,
        stages=[*found.stages, *(_hydration_stages(hydrated, stage) if hydrated else [stage])],
        versions=_versions(found, hydrated.epoch if hydrated else known.epoch if known else None, sources),
        freshness=read_freshness(sources, index_age_s=_age_s(found.index)),
        profile=found.profile,
    )


async def _hydrated(
    found: Found, reading: Coroutine[Any, Any, Hydrated], *, timeout_s: float
) -> tuple[Hydrated | None, Stage]:
    """What the database says of the candidates, and the stage; it is not asked again where it has just failed."""
    failed = next((stage for stage in found.stages if _shows_no_database(stage)), None) if found.epoch is None else None
    if failed is not None:
        reading.close()
        return None, Stage("hydrate", status="skipped", cause=failed.cause)
    return await run_stage("hydrate", reading, timeout_s=timeout_s)


async def _within(deadline: Deadline, remembering: Coroutine[Any, Any, Remembered | None]) -> Remembered | None:
    """What is known without a database; None where that takes too long."""
    try:
        async with time_limit(deadline.left_s()):
            return await remembering
    except TimeoutError:
        return None


def _shows_no_database(stage: Stage) -> bool:
    """Whether *stage*, of a retriever, failed because no database answered."""
    return stage.name in READ_FROM_THE_DATABASE and stage.cause in ("unavailable", "timeout", "circuit_open")


def _revisions(lists: Sequence[Retrieved], wanted: frozenset[str]) -> dict[str, int]:
    """The revisions of *wanted* that a list knows; from the list that was read last, where they differ."""
    return {
        product_id: revision
        for retrieved in sorted(lists, key=lambda retrieved: retrieved.retriever in READ_FROM_THE_DATABASE)
        for product_id, revision in retrieved.revisions.items()
        if product_id in wanted
    }


def _hydration_stages(hydrated: Hydrated, stage: Stage) -> list[Stage]:
    stage = read_stage(stage, hydrated.sources)
    if hydrated.from_cache:
        stage = replace(stage, source=f"redis+{stage.source}" if hydrated.sources else "redis")
    return [stage, hydrated.cache] if hydrated.cache else [stage]


def _versions(found: Found, epoch: Epoch | None, sources: Sequence[ReadSource]) -> Versions:
    """The versions; no one position of the catalogue where its reads were answered by several databases."""
    versions = Versions(index=found.index.version if found.index else None, cf=found.cf.version if found.cf else None)
    if epoch is None:
        return versions
    return replace(
        versions,
        changes=_changes(epoch.changes, found.changes) if one_database(sources) else None,
        vocabulary=epoch.vocabulary,
        popularity=epoch.popularity,
    )


def _changes(seen: str, live: str | None) -> str:
    """What was seen of the catalogue; where the database and the live catalogue differ, both."""
    return seen if live in (None, seen) else f"{seen}~{live}"


def _age_s(index: Loaded[Any] | None) -> int | None:
    return int((datetime.now(UTC) - index.manifest.created_at).total_seconds()) if index else None
