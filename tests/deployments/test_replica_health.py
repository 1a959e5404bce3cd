from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from artifacts.active import ActiveArtifact, Loaded
from artifacts.embedding_index import EmbeddingIndex
from artifacts.factors import Factors
from deployments.artifact_probes import FactorsProbe, IndexProbe
from deployments.replica_health import ReplicaHealth, ReplicaUnhealthy


class Task:
    """Something beside the requests."""

    def __init__(self) -> None:
        self.alive = True


@pytest.fixture
def stuck_threads() -> Iterator[threading.Event]:
    """What the threads of an executor wait for that never comes while the test runs."""
    freed = threading.Event()
    yield freed
    freed.set()


class TestReplicaHealth:
    async def test_a_process_that_is_well_passes(self) -> None:
        health = ReplicaHealth()
        health.watch(feed=Task())
        health.probe(index=lambda: None)
        await health.check()
        assert health.status() == {"failures": 0, "failures_in_a_row": 0, "problem": None}

    async def test_a_dead_task_fails_by_name(self) -> None:
        health, task = ReplicaHealth(), Task()
        health.watch(feed=task)
        task.alive = False
        with pytest.raises(ReplicaUnhealthy, match="feed has died"):
            await health.check()

    async def test_a_probe_that_finds_something_fails(self) -> None:
        health = ReplicaHealth()
        health.probe(index=lambda: "does not answer")
        with pytest.raises(ReplicaUnhealthy, match="index: does not answer"):
            await health.check()

    async def test_a_probe_that_raises_fails(self) -> None:
        def broken() -> str | None:
            raise ValueError("no index")

        health = ReplicaHealth()
        health.probe(index=broken)
        with pytest.raises(ReplicaUnhealthy, match="index: ValueError: no index"):
            await health.check()

    async def test_threads_that_are_all_stuck_fail_until_one_comes_free(self, stuck_threads: threading.Event) -> None:
        loop = asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor(2))
        health = ReplicaHealth(executor_timeout_s=0.1)
        stuck = [loop.run_in_executor(None, stuck_threads.wait) for _ in range(2)]
        for _ in range(2):
            with pytest.raises(ReplicaUnhealthy, match="no thread came free"):
                await health.check()
        stuck_threads.set()
        await asyncio.gather(*stuck)
        assert health._probing is not None
        await health._probing
        await health.check()
        assert health.status() == {"failures": 2, "failures_in_a_row": 0, "problem": None}

    async def test_one_stuck_thread_of_two_passes(self, stuck_threads: threading.Event) -> None:
        loop = asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor(2))
        loop.run_in_executor(None, stuck_threads.wait)
        await ReplicaHealth().check()
        stuck_threads.set()

    async def test_failures_in_a_row_are_logged(self, caplog: pytest.LogCaptureFixture) -> None:
        health, task = ReplicaHealth(), Task()
        health.watch(feed=task)
        task.alive = False
        for _ in range(3):
            with pytest.raises(ReplicaUnhealthy):
                await health.check()
        task.alive = True
        with caplog.at_level(logging.INFO):
            await health.check()
        assert "health check failed, 3 in a row" in caplog.text
        assert "passes again after 3" in caplog.text

    async def test_the_failures_in_a_row_are_exported(self) -> None:
        health, task = ReplicaHealth(), Task()
        health.watch(feed=task)
        task.alive = False
        with pytest.raises(ReplicaUnhealthy):
            await health.check()
        assert [(sample.name, sample.value) for sample in health.samples()] == [("shortlist_health_check_failures", 1)]


class TestProbes:
    def test_an_index_that_answers_is_well(self, embeddings: ActiveArtifact[EmbeddingIndex]) -> None:
        assert IndexProbe(embeddings)() is None

    def test_an_index_that_answers_no_more_is_a_fault_of_the_process(
        self, embeddings: ActiveArtifact[EmbeddingIndex]
    ) -> None:
        probe = IndexProbe(embeddings)
        probe()
        assert embeddings.current is not None
        embeddings.current.value.index.reset()
        assert str(probe()).endswith("does not answer a query, though it did when it was loaded")

    def test_an_index_that_never_answered_is_a_fault_of_the_artifact(
        self, embeddings: ActiveArtifact[EmbeddingIndex]
    ) -> None:
        assert embeddings.current is not None
        embeddings.current.value.index.reset()
        assert IndexProbe(embeddings)() is None

    def test_no_index_is_no_fault_of_the_process(self, no_embeddings: ActiveArtifact[EmbeddingIndex]) -> None:
        assert IndexProbe(no_embeddings)() is None

    def test_factors_that_are_finite_no_more_are_a_fault_of_the_process(self, factors: ActiveArtifact[Factors]) -> None:
        probe, loaded = FactorsProbe(factors), factors.current
        assert isinstance(loaded, Loaded)
        assert probe() is None
        loaded.value.item_factors[0] = float("nan")
        assert "not finite" in str(probe())

    def test_another_version_starts_with_a_clean_slate(self, factors: ActiveArtifact[Factors]) -> None:
        probe, pair = FactorsProbe(factors), factors._pair
        assert probe() is None
        assert pair.current is not None
        pair.current.value.item_factors[0] = float("nan")
        factors._pair = replace(pair, current=replace(pair.current, version="another"))
        assert probe() is None
