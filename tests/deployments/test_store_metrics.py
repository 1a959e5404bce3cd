from __future__ import annotations

import pytest

from deployments.breaker_metrics import breaker_samples
from deployments.store_metrics import store_samples
from storage.breakers import Breakers
from storage.cache import Cache
from storage.database import Database
from storage.errors import CircuitOpen
from storage.shelf import Shelf


class TestStoreSamples:
    async def test_every_server_says_how_its_pool_is(self, database: Database) -> None:
        await database.fetch("last_beat")
        samples = list(store_samples(database, None))
        endpoints = {endpoint.name for endpoint in database.status()}
        for name in ("shortlist_database_healthy", "shortlist_pool_waiters", "shortlist_pool_timeouts_total"):
            assert {sample.tags["endpoint"] for sample in samples if sample.name == name} == endpoints
        acquired = sum(sample.value for sample in samples if sample.name == "shortlist_pool_acquired_total")
        assert acquired >= 1

    async def test_the_cache_counts_reads_by_purpose_and_outcome(self, database: Database, cache: Cache) -> None:
        shelf = Shelf(cache, "results", ttl_s=60, encode=str.encode, decode=bytes.decode)
        await shelf.read(["a"])
        await shelf.write({"a": "value"})
        await shelf.read(["a"])
        counted = {
            (sample.tags["purpose"], sample.tags["outcome"]): sample.value
            for sample in store_samples(database, cache)
            if sample.name == "shortlist_cache_reads_total"
        }
        assert (counted["results", "hit"], counted["results", "miss"], counted["results", "error"]) == (1, 1, 0)

    async def test_totals_are_named_as_such(self, database: Database, cache: Cache) -> None:
        for sample in store_samples(database, cache):
            assert (sample.kind == "total") == sample.name.endswith("_total")


class TestBreakerSamples:
    def test_each_breaker_says_its_state_and_how_often_it_changed(self) -> None:
        breakers = Breakers()
        breakers.of("semantic")
        for _ in range(5):
            breakers.of("redis").admit().failed()
        with pytest.raises(CircuitOpen):
            breakers.of("redis").admit()
        figures = {(sample.name, *sample.tags.values()): sample.value for sample in breaker_samples(breakers)}
        assert figures["shortlist_breaker_state", "semantic"] == 0
        assert figures["shortlist_breaker_state", "redis"] == 2
        assert figures["shortlist_breaker_transitions_total", "redis", "open"] == 1
        assert figures["shortlist_breaker_transitions_total", "redis", "closed"] == 0
        assert figures["shortlist_breaker_rejected_total", "redis"] == 1
