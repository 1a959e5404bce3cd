"""What a read says about itself: its stage and its freshness."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

from contracts.stages import Stage
from contracts.versions import Freshness
from retrieval.stage_run import cause_of
from storage.database import ReadSource
from storage.errors import CacheUnavailable


def read_stage(stage: Stage, sources: Sequence[ReadSource]) -> Stage:
    """
    Return *stage* with the databases that answered.

    A read that left its replica for the primary says so, and so does one from a replica that lags too far.
    """
    names = ",".join(sorted({source.name for source in sources}))
    diverted = next((source.diverted for source in sources if source.diverted), None)
    if any(source.stale for source in sources) and stage.status == "ok":
        return replace(stage, status="fallback", source=names, fallback="stale replica", cause="replica_lag")
    if diverted and stage.status == "ok":
        return replace(stage, status="fallback", source=names, fallback="primary", cause=diverted)
    return replace(stage, source=names)


def read_freshness(sources: Sequence[ReadSource], *, index_age_s: int | None) -> Freshness:
    """Return the freshness of an answer read from *sources*: stale before diverted before the one that lags most."""
    if not sources:
        return Freshness(index_age_s=index_age_s)
    speaker = max(sources, key=lambda source: (source.stale, source.diverted is not None, source.lag_ms or 0.0))
    return Freshness(
        read_from=speaker.name,
        replica_lag_ms=None if speaker.lag_ms is None else round(speaker.lag_ms),
        index_age_s=index_age_s,
    )


def one_database(sources: Sequence[ReadSource]) -> bool:
    """Whether one database answered all of these reads, so that a later one saw whatever an earlier one did."""
    return len({source.name for source in sources}) == 1


def cache_down(error: CacheUnavailable | TimeoutError, started: float) -> Stage:
    """The stage of a cache that failed, asked at *started* (``perf_counter``): the database says the same instead."""
    ms = round((time.perf_counter() - started) * 1000, 3)
    return Stage("cache", status="fallback", fallback="database", cause=cause_of(error), ms=ms)
