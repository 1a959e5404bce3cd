"""The figures of the database pools, the cache and the circuit breakers, as samples."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from deployments.breaker_metrics import breaker_samples
from deployments.metrics import Sample
from deployments.replica_metrics import ReplicaMetrics, export_replica
from storage.breakers import Breakers
from storage.cache import Cache
from storage.database import Database, EndpointStatus


def export_stores(
    database: Database, cache: Cache | None, breakers: Breakers, *others: Callable[[], Iterable[Sample]]
) -> ReplicaMetrics:
    """Export the figures of the stores and of *breakers*, and what *others* yield, while what is returned is held."""
    return export_replica(lambda: store_samples(database, cache), lambda: breaker_samples(breakers), *others)


def store_samples(database: Database, cache: Cache | None) -> Iterator[Sample]:
    """Yield what this process knows of each database server and of the cache."""
    for endpoint in database.status():
        yield from _endpoint_samples(endpoint)
    if cache is not None:
        yield from _cache_samples(cache)


def _endpoint_samples(endpoint: EndpointStatus) -> Iterator[Sample]:
    tags = {"endpoint": endpoint.name}
    yield Sample("shortlist_database_healthy", "Whether the server answers: 1 or 0.", endpoint.healthy, tags=tags)
    if endpoint.lag_ms is not None:
        yield Sample("shortlist_replica_lag_ms", "How far the read replica is behind.", endpoint.lag_ms, tags=tags)
    pool = endpoint.pool
    for state, count in (("size", pool.size), ("idle", pool.idle), ("in_use", pool.in_use)):
        yield Sample("shortlist_pool_connections", "Connections by state.", count, tags={**tags, "state": state})
    yield Sample("shortlist_pool_waiters", "Callers that wait for a connection.", pool.waiters, tags=tags)
    yield Sample(
        "shortlist_pool_longest_wait_seconds", "Longest wait for a connection so far.", pool.longest_wait_s, tags=tags
    )
    for name, description, total in (
        ("shortlist_pool_acquired_total", "Connections obtained.", pool.acquired),
        ("shortlist_pool_wait_seconds_total", "Seconds waited for connections.", pool.wait_s),
        ("shortlist_pool_timeouts_total", "Callers that got no connection in time.", pool.timeouts),
        ("shortlist_pool_created_total", "Connections made.", pool.created),
        ("shortlist_pool_recycled_total", "Connections closed because of their age.", pool.recycled),
    ):
        yield Sample(name, description, total, "total", tags)


def _cache_samples(cache: Cache) -> Iterator[Sample]:
    yield Sample(
        "shortlist_cache_epoch_moves_total", "Times the keys' epoch was seen to move.", cache.epoch_moves, "total"
    )
    for purpose, counts in cache.stats().items():
        for outcome, total in (("hit", counts.hits), ("miss", counts.misses), ("error", counts.errors)):
            tags = {"purpose": purpose, "outcome": outcome}
            yield Sample("shortlist_cache_reads_total", "Reads of the cache by outcome.", total, "total", tags)
