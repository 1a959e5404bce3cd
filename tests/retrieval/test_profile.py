from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from artifacts.active import ActiveArtifact
from artifacts.factors import Factors
from artifacts.manifest import ManifestDraft
from artifacts.store import ArtifactStore
from catalogue.events import Event, EventType
from catalogue.store import insert_events
from contracts.candidates import Profile
from contracts.requests import RecommendationRequest
from retrieval.config import RetrievalConfig
from retrieval.profile import ProfileReader
from retrieval.recommendation import RecommendationRetrieval
from storage.cache import Cache
from storage.database import Database
from tests.small_catalogue import load_factors, watched


@pytest.fixture
def counted_factors(store: ArtifactStore, tmp_path: Path) -> Iterator[ActiveArtifact[Factors]]:
    """The model of the small catalogue; the drinker had two events when it was trained."""
    made = tmp_path / "counted"
    made.mkdir()
    Factors(
        user_ids=["drinker", "viewer"],
        item_ids=["p1", "p2", "p3", "p4"],
        user_factors=np.array([[1, 0], [0, 1]], dtype=np.float32),
        item_factors=np.array([[0.9, 0.1], [0.7, 0.0], [0.1, 0.9], [0.0, 0.7]], dtype=np.float32),
        regularization=0.1,
        alpha=1.0,
        event_counts=np.array([2, 0], dtype=np.int64),
    ).save(made)
    store.activate("collaborative", store.publish(made, ManifestDraft(kind="collaborative")).version)
    yield from watched(ActiveArtifact("collaborative", load_factors, store))


@pytest.fixture
def profiles(own_database: Database, counted_factors: ActiveArtifact[Factors]) -> ProfileReader:
    return ProfileReader(own_database, counted_factors)


async def add(database: Database, user_id: str, kind: EventType, *product_ids: str) -> None:
    events = [Event(user_id=user_id, product_id=product_id, type=kind) for product_id in product_ids]
    async with database.transaction() as connection:
        await insert_events(connection, events)


async def read(profiles: ProfileReader, user_id: str) -> Profile:
    return await profiles.profile(user_id, timeout_s=10)


def prefers_films(profile: Profile) -> bool:
    assert profile.vector is not None
    return bool(profile.vector[1] > profile.vector[0])


class TestProfile:
    async def test_a_user_without_new_events_has_the_vector_of_training(
        self, own_database: Database, profiles: ProfileReader
    ) -> None:
        await add(own_database, "drinker", "view", "p3", "p4")
        profile = await read(profiles, "drinker")
        assert profile.vector is not None
        assert (profile.vector.tolist(), profile.stage.source) == ([1.0, 0.0], "factors+primary")

    async def test_one_more_event_folds_the_user_in(self, own_database: Database, profiles: ProfileReader) -> None:
        await add(own_database, "drinker", "view", "p3", "p4", "p3")
        profile = await read(profiles, "drinker")
        assert prefers_films(profile)
        assert (profile.stage.status, profile.stage.source) == ("ok", "fold_in+primary")

    async def test_a_new_user_has_a_vector_from_the_first_event_on(
        self, own_database: Database, profiles: ProfileReader, counted_factors: ActiveArtifact[Factors]
    ) -> None:
        assert (await read(profiles, "new")).stage.cause == "unknown_user"
        await add(own_database, "new", "click", "p3")
        profile = await read(profiles, "new")
        assert prefers_films(profile)
        assert counted_factors.current is not None
        assert profile.version == counted_factors.current.version

    async def test_it_says_how_many_events_it_saw(
        self, own_database: Database, profiles: ProfileReader, cache: Cache
    ) -> None:
        assert (await read(profiles, "new")).event_count == 0
        await add(own_database, "new", "click", "p3", "p3")
        assert (await read(profiles, "new")).event_count == 2
        without_model = RecommendationRetrieval(own_database, cache, RetrievalConfig())
        found = await without_model.retrieve(RecommendationRequest(user_id="new"), timeout_s=10)
        assert found.profile is not None
        assert found.profile.event_count == 2

    async def test_the_same_events_give_the_same_bytes(self, own_database: Database, profiles: ProfileReader) -> None:
        await add(own_database, "new", "view", "p1", "p3", "p4")
        once, again = await read(profiles, "new"), await read(profiles, "new")
        assert once.vector is not None
        assert again.vector is not None
        assert once.vector.tobytes() == again.vector.tobytes()

    async def test_events_on_products_too_new_for_the_model_make_nobody_known(
        self, own_database: Database, profiles: ProfileReader
    ) -> None:
        await add(own_database, "new", "purchase", "p5", "unheard of")
        profile = await read(profiles, "new")
        assert (profile.vector, profile.stage.cause, profile.stage.degraded) == (None, "unknown_user", False)

    async def test_events_that_a_token_covers_count(self, own_database: Database, profiles: ProfileReader) -> None:
        await add(own_database, "new", "view", "p3")
        token = await own_database.consistency_token()
        assert prefers_films(await profiles.profile("new", timeout_s=10, after=token))


class TestWithOwned:
    async def test_the_vector_and_what_was_bought_come_together(
        self, own_database: Database, profiles: ProfileReader
    ) -> None:
        await add(own_database, "new", "purchase", "p3", "p5")
        await add(own_database, "new", "view", "p4")
        profile = await profiles.with_owned("new", timeout_s=10)
        assert prefers_films(profile)
        assert profile.owned == {"p3", "p5"}

    async def test_without_a_model_there_is_what_was_bought(self, own_database: Database) -> None:
        await add(own_database, "new", "purchase", "p3")
        profile = await ProfileReader(own_database, None).with_owned("new", timeout_s=10)
        assert profile.vector is None
        assert profile.owned == {"p3"}
        assert profile.stage.cause == "artifact_missing"


class TestWithoutADatabase:
    async def test_a_trained_vector_stands_in_and_the_stage_says_so(
        self, broken_database: Database, counted_factors: ActiveArtifact[Factors]
    ) -> None:
        profile = await read(ProfileReader(broken_database, counted_factors), "drinker")
        assert profile.vector is not None
        stage = profile.stage
        assert (stage.status, stage.fallback, stage.cause) == ("fallback", "trained vector", "unavailable")
        assert stage.may_change_hits

    async def test_of_a_user_the_model_does_not_know_nothing_can_be_said(
        self, broken_database: Database, counted_factors: ActiveArtifact[Factors]
    ) -> None:
        profile = await read(ProfileReader(broken_database, counted_factors), "new")
        assert (profile.vector, profile.stage.status, profile.stage.cause) == (None, "skipped", "unavailable")


class TestRecommendations:
    """Events move recommendations without training."""

    @pytest.fixture
    def retrieval(
        self, own_database: Database, cache: Cache, counted_factors: ActiveArtifact[Factors]
    ) -> RecommendationRetrieval:
        return RecommendationRetrieval(own_database, cache, RetrievalConfig(), factors=counted_factors)

    async def preferred(self, retrieval: RecommendationRetrieval, user_id: str, retriever: str) -> list[str]:
        found = (await retrieval.retrieve(RecommendationRequest(user_id=user_id), timeout_s=10)).candidates
        placing = found.placings[retriever]  # type: ignore[index]
        return [found.product_ids[row] for row in np.argsort(placing.ranks) if placing.ranks[row] > 0]

    async def test_a_new_user_with_three_events_gets_personal_ones(
        self, own_database: Database, retrieval: RecommendationRetrieval
    ) -> None:
        await add(own_database, "new", "view", "p3", "p4", "p3")
        assert (await self.preferred(retrieval, "new", "popular"))[:2] == ["p2", "p3"]
        assert (await self.preferred(retrieval, "new", "collaborative"))[:2] == ["p3", "p4"]

    async def test_events_move_those_of_a_known_user(
        self, own_database: Database, retrieval: RecommendationRetrieval
    ) -> None:
        assert (await self.preferred(retrieval, "drinker", "collaborative"))[:2] == ["p1", "p2"]
        await add(own_database, "drinker", "view", "p3", "p4", "p4")
        assert (await self.preferred(retrieval, "drinker", "collaborative"))[:2] == ["p3", "p4"]
