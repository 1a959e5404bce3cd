"""A canary and a shadow in one replica, over a real catalogue and real artifacts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from artifacts.active import ActiveArtifact
from artifacts.embedding_index import EmbeddingIndex
from artifacts.factors import Factors
from artifacts.manifest import ManifestDraft
from artifacts.store import ArtifactStore
from artifacts.trial_watch import OnTrial, TrialArtifact
from artifacts.trials import Mode, Trial
from contracts.arms import in_share, personal_to, searcher
from contracts.candidates import Retrieval
from contracts.requests import ReadRequest, RecommendationRequest, SearchRequest
from deployments import version_trial
from deployments.error_window import LEAST_ERRORS
from deployments.shadow_queue import MOST_WAITING
from deployments.trial_arms import RecommendationArm, SearchArm
from deployments.trial_samples import trial_samples
from deployments.version_trial import VersionTrial
from retrieval.config import RetrievalConfig
from retrieval.live_catalogue import LiveCatalogue
from retrieval.recommendation import RecommendationRetrieval
from retrieval.search import SearchRetrieval
from storage.cache import Cache
from storage.config import BreakerConfig
from storage.database import Database

CONFIG = RetrievalConfig(min_cosine=-1)
FOR_DRINKER, FOR_VIEWER = RecommendationRequest(user_id="drinker"), RecommendationRequest(user_id="viewer")
ITEMS = ["p1", "p2", "p3", "p4"]


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110  threads and tasks are waited for alike
            await asyncio.sleep(0.01)


def other_factors(store: ArtifactStore, tmp_path: Path, *, items: list[str] = ITEMS) -> str:
    """Publish factors of which the drinker likes films, and the viewer wine."""
    made = tmp_path / "other-factors"
    made.mkdir()
    Factors(
        user_ids=["drinker", "viewer"],
        item_ids=items,
        user_factors=np.array([[0, 1], [1, 0]], dtype=np.float32),
        item_factors=np.array([[0.9, 0.1], [0.7, 0.0], [0.1, 0.9], [0.0, 0.7]], dtype=np.float32),
        regularization=0.1,
        alpha=1.0,
    ).save(made)
    return store.publish(made, ManifestDraft(kind="collaborative")).version


def begin(store: ArtifactStore, version: str, mode: Mode, share: float = 1.0) -> Trial:
    trial = Trial.begun(mode, version, share)
    store.trials("collaborative").begin(trial)
    return trial


@dataclass
class Replica:
    """The part of a recommendation replica that trials concern."""

    store: ArtifactStore
    active: RecommendationRetrieval
    tried: VersionTrial[Factors, Any]

    async def asked(self, request: ReadRequest, *, timeout_s: float = 10.0) -> Retrieval:
        assert isinstance(request, RecommendationRequest)
        return await self.tried.retrieve(request, timeout_s, lambda s: self.active.retrieve(request, timeout_s=s))

    async def running(self) -> None:
        await until(lambda: self.tried.status() is not None)

    async def ended(self) -> str:
        """Why the trial has ended, once the store says that it has."""
        trials = self.store.trials("collaborative")
        await until(lambda: trials.current() is None)
        ending = trials.recent()[-1][1]
        assert ending is not None
        assert ending.failed
        return ending.reason


@asynccontextmanager
async def followed(tried: VersionTrial[Any, Any]) -> AsyncIterator[VersionTrial[Any, Any]]:
    tried.start()
    yield tried
    await tried.stop()


Make = Callable[[OnTrial[Factors]], Any]


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(version_trial, "POLL_S", 0.01)


@pytest.fixture
def replica_with(
    database: Database,
    cache: Cache,
    store: ArtifactStore,
    factors: ActiveArtifact[Factors],
    embeddings: ActiveArtifact[EmbeddingIndex],
) -> Callable[[Make | None], Replica]:
    catalogue = LiveCatalogue(database, embeddings)
    active = RecommendationRetrieval(database, cache, CONFIG, factors=factors, catalogue=catalogue)

    def make(held: OnTrial[Factors]) -> RecommendationArm:
        return RecommendationArm(held, database, cache, CONFIG, active=active, catalogue=catalogue)

    def replica(other: Make | None) -> Replica:
        watched = TrialArtifact("collaborative", Factors.load, store, replica="r1", poll_s=0.01, report_s=0.0)
        return Replica(store, active, VersionTrial(watched, other or make, stage="collaborative", subject=personal_to))

    return replica


@pytest.fixture
async def replica(replica_with: Callable[[Make | None], Replica]) -> AsyncIterator[Replica]:
    replica = replica_with(None)
    async with followed(replica.tried):
        yield replica


def best(retrieval: Retrieval) -> str:
    """The product that the model places first."""
    placing = retrieval.candidates.placings["collaborative"]
    return retrieval.candidates.product_ids[int(np.flatnonzero(placing.ranks == 1)[0])]


class TestCanary:
    async def test_its_users_get_the_version_and_the_others_do_not(self, replica: Replica, tmp_path: Path) -> None:
        version = other_factors(replica.store, tmp_path)
        shares = [share / 1000 for share in range(1, 1000)]
        share = next(s for s in shares if in_share(s, version, "drinker") != in_share(s, version, "viewer"))
        begin(replica.store, version, "canary", share)
        await replica.running()
        for request, mine, other in ((FOR_DRINKER, "p1", "p3"), (FOR_VIEWER, "p3", "p1")):
            retrieval = await replica.asked(request)
            is_canarys = in_share(share, version, request.user_id or "")
            assert best(retrieval) == (other if is_canarys else mine)
            assert (retrieval.versions.cf == version) is is_canarys
            assert retrieval.profile is not None
            assert (retrieval.profile.version == version) is is_canarys
        figures = replica.tried.totals
        assert (figures.active.requests, figures.trial.requests, figures.trial.errors) == (1, 1, 0)

    async def test_who_names_no_user_gets_the_active_version(self, replica: Replica, tmp_path: Path) -> None:
        version = other_factors(replica.store, tmp_path)
        begin(replica.store, version, "canary")
        await replica.running()
        assert (await replica.asked(RecommendationRequest())).versions.cf != version

    async def test_a_users_vector_is_that_of_the_version(self, replica: Replica, tmp_path: Path) -> None:
        version = other_factors(replica.store, tmp_path)
        begin(replica.store, version, "canary")
        await replica.running()
        ask = lambda arm: arm.profile("drinker", timeout_s=10.0, after=None)  # noqa: E731
        profile = await replica.tried.by_canary("drinker", ask)
        assert profile is not None
        assert (profile.version, profile.vector.tolist()) == (version, [0.0, 1.0])

    async def test_one_that_finds_nothing_is_stood_in_for_and_ended(self, replica: Replica, tmp_path: Path) -> None:
        version = other_factors(replica.store, tmp_path, items=["x1", "x2", "x3", "x4"])
        begin(replica.store, version, "canary")
        await replica.running()
        for _ in range(LEAST_ERRORS):
            assert best(await replica.asked(FOR_DRINKER)) == "p1"
        assert "5 of 5 requests failed" in await replica.ended()
        assert replica.tried.status() is None
        assert replica.tried.failed == 1
        samples = {(each.name, each.tags.get("mode")): each.value for each in trial_samples(replica.tried)()}
        assert samples["shortlist_trials_failed_total", None] == 1
        assert samples["shortlist_trial_running", "canary"] == 0

    async def test_one_that_raises_is_stood_in_for_and_ended(
        self, replica_with: Callable[[Make | None], Replica], tmp_path: Path
    ) -> None:
        class Broken:
            async def start(self) -> None: ...
            async def stop(self) -> None: ...
            async def retrieve(self, request: ReadRequest, *, timeout_s: float) -> Retrieval:
                raise ZeroDivisionError(f"{request} {timeout_s}")

        replica = replica_with(lambda _: Broken())
        begin(replica.store, other_factors(replica.store, tmp_path), "canary")
        async with followed(replica.tried):
            await replica.running()
            for _ in range(LEAST_ERRORS):
                assert best(await replica.asked(FOR_DRINKER)) == "p1"
            assert "ZeroDivisionError" in await replica.ended()
            assert best(await replica.asked(FOR_DRINKER)) == "p1"

    async def test_one_that_hangs_leaves_time_for_the_active_version(
        self, replica_with: Callable[[Make | None], Replica], tmp_path: Path
    ) -> None:
        class Hanging:
            async def start(self) -> None: ...
            async def stop(self) -> None: ...
            async def retrieve(self, request: ReadRequest, *, timeout_s: float) -> Retrieval:
                await asyncio.sleep(3600)
                raise AssertionError((request, timeout_s))

        replica = replica_with(lambda _: Hanging())
        begin(replica.store, other_factors(replica.store, tmp_path), "canary")
        async with followed(replica.tried):
            await replica.running()
            assert best(await replica.asked(FOR_DRINKER, timeout_s=4.0)) == "p1"
            assert replica.tried.totals.trial.errors == 1

    async def test_an_end_by_hand_is_followed(self, replica: Replica, tmp_path: Path) -> None:
        version = other_factors(replica.store, tmp_path)
        trial = begin(replica.store, version, "canary")
        await replica.running()
        replica.store.trials("collaborative").end(trial.id, "by hand")
        await until(lambda: replica.tried.status() is None)
        assert best(await replica.asked(FOR_DRINKER)) == "p1"
        assert replica.tried.failed == 0


class TestShadow:
    async def test_everyone_gets_the_active_version_and_both_are_compared(
        self, replica: Replica, tmp_path: Path
    ) -> None:
        trial = begin(replica.store, other_factors(replica.store, tmp_path), "shadow")
        await replica.running()
        for _ in range(3):
            assert best(await replica.asked(FOR_DRINKER)) == "p1"
        await until(lambda: replica.tried.totals.compared == 3)
        report = replica.tried.totals.report()
        # Four products, all in both; one order is p1, p2, p3, p4, the other p3, p4, p1, p2.
        assert (report["overlap_at_10"], report["rank_correlation"]) == (1.0, -0.6)
        assert report["score_shift"] == 0.0
        assert report["active"]["requests"] == report["trial"]["requests"] == 3
        reports = replica.store.trials("collaborative").reports
        await until(lambda: [each.compared for each in reports(trial.id)] == [3])

    async def test_what_is_asked_of_no_model_is_not_compared(self, replica: Replica, tmp_path: Path) -> None:
        begin(replica.store, other_factors(replica.store, tmp_path), "shadow")
        await replica.running()
        await replica.asked(RecommendationRequest())
        await replica.asked(FOR_VIEWER)
        await until(lambda: replica.tried.totals.compared == 1)

    async def test_what_is_too_much_is_dropped_and_no_request_waits(
        self, replica_with: Callable[[Make | None], Replica], tmp_path: Path
    ) -> None:
        class Slow:
            async def start(self) -> None: ...
            async def stop(self) -> None: ...
            async def listed_by_active(self, request: ReadRequest, *, timeout_s: float) -> object:
                await asyncio.sleep(3600)
                return request, timeout_s

        replica = replica_with(lambda _: Slow())
        begin(replica.store, other_factors(replica.store, tmp_path), "shadow")
        async with followed(replica.tried):
            await replica.running()
            for _ in range(MOST_WAITING + 6):
                assert best(await replica.asked(FOR_DRINKER)) == "p1"
            # One is being compared, or is about to be.
            assert replica.tried.totals.dropped in (5, 6)


class TestSearch:
    @pytest.fixture
    async def tried(
        self,
        database: Database,
        cache: Cache,
        store: ArtifactStore,
        embeddings: ActiveArtifact[EmbeddingIndex],
    ) -> AsyncIterator[tuple[VersionTrial[EmbeddingIndex, SearchArm], SearchRetrieval]]:
        catalogue = LiveCatalogue(database, embeddings)
        await catalogue.start(wait_s=20)
        active = SearchRetrieval(database, embeddings, CONFIG, cache=cache, catalogue=catalogue)

        def make(held: OnTrial[EmbeddingIndex]) -> SearchArm:
            return SearchArm(held, database, cache, CONFIG, BreakerConfig(), embeddings=embeddings, catalogue=catalogue)

        watched = TrialArtifact("embeddings", EmbeddingIndex.load, store, replica="r1", poll_s=0.01, report_s=0.0)
        async with followed(VersionTrial(watched, make, stage="semantic", subject=searcher)) as tried:
            yield tried, active
        await catalogue.stop()

    @pytest.fixture
    def version(self, store: ArtifactStore, embeddings: ActiveArtifact[EmbeddingIndex]) -> str:
        """The active version again, by an encoder of another name."""
        assert embeddings.current is not None
        directory = store.fetch("embeddings", embeddings.current.version)
        draft = ManifestDraft(kind="embeddings", encoder="tiny-2", dim=embeddings.current.value.dim)
        return store.publish(directory, draft).version

    async def test_a_canary_searches_its_own_index_for_its_users_and_queries(
        self,
        tried: tuple[VersionTrial[EmbeddingIndex, SearchArm], SearchRetrieval],
        store: ArtifactStore,
        version: str,
    ) -> None:
        trial, active = tried
        store.trials("embeddings").begin(Trial.begun("canary", version, 0.5))
        await until(lambda: trial.status() is not None)

        async def asked(request: SearchRequest) -> Retrieval:
            made: Awaitable[Retrieval] = trial.retrieve(request, 10.0, lambda s: active.retrieve(request, timeout_s=s))
            return await made

        by_version: dict[bool, list[list[str]]] = {True: [], False: []}
        for number in range(30):
            request = SearchRequest(q="red wine", user_id=f"u{number}")
            retrieval = await asked(request)
            is_canarys = in_share(0.5, version, searcher(request) or "")
            assert (retrieval.versions.index == version) is is_canarys
            by_version[is_canarys].append(retrieval.candidates.product_ids)
        assert by_version[True]
        assert by_version[False]
        assert by_version[True][0] == by_version[False][0]
        words = SearchRequest(q="red wine", user_id="u1", mode="keyword")
        assert (await asked(words)).candidates.product_ids
        assert trial.totals.trial.errors == 0

    async def test_a_shadow_of_the_same_vectors_agrees(
        self,
        tried: tuple[VersionTrial[EmbeddingIndex, SearchArm], SearchRetrieval],
        store: ArtifactStore,
        version: str,
    ) -> None:
        trial, active = tried
        store.trials("embeddings").begin(Trial.begun("shadow", version, 1.0))
        await until(lambda: trial.status() is not None)
        request = SearchRequest(q="blue film")
        retrieval = await trial.retrieve(request, 10.0, lambda s: active.retrieve(request, timeout_s=s))
        assert retrieval.versions.index != version
        await until(lambda: trial.totals.compared == 1)
        report = trial.totals.report()
        assert (report["overlap_at_10"], report["rank_correlation"], report["score_shift"]) == (1.0, 1.0, 0.0)
