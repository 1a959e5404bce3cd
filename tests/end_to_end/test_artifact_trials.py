"""Shadow and canary on the stack that serves: who gets which version, what is reported, and that nothing fails."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from artifacts.factors import Factors
from artifacts.manifest import ArtifactKind, ManifestDraft, new_version
from artifacts.store import ArtifactStore
from artifacts.trials import Trial
from cluster.child import wait_until
from contracts.arms import in_share
from tests.artifacts.test_store import flip_a_bit
from tests.stack import Stack

pytestmark = [pytest.mark.stack, pytest.mark.usefixtures("left_well")]

KIND: ArtifactKind = "collaborative"
GIVE_UP_S = 120.0
USERS = [str(number) for number in range(1, 41)]
ASKED: dict[ArtifactKind, tuple[str, list[dict[str, str]]]] = {
    KIND: ("/v1/recommendations", [{"user_id": user} for user in USERS]),
    "embeddings": ("/v1/search", [{"q": q} for q in ("space adventure", "love", "war", "a dog", "murder")]),
}
Copy = Callable[..., str]


@pytest.fixture
def store(stack: Stack) -> Iterator[ArtifactStore]:
    """The stack's own; trials are ended and versions that a test adds are taken away again."""
    store = ArtifactStore(str(stack.shortlist.state.artifacts))
    kinds: tuple[ArtifactKind, ...] = (KIND, "embeddings")
    there = {kind: set(store.versions(kind)) for kind in kinds}
    yield store
    for kind in kinds:
        if (trial := store.trials(kind).current()) is not None:
            store.trials(kind).end(trial.id, "the test is over")
        for version in set(store.versions(kind)) - there[kind]:
            shutil.rmtree(Path(store.root) / kind / version)


@pytest.fixture
def copied(store: ArtifactStore, tmp_path: Path) -> Copy:
    """Publishes the active version again, changed on the way."""

    def copy(kind: ArtifactKind = KIND, change: Callable[[Path], None] = lambda _: None) -> str:
        manifest = store.manifest(kind, store.active_version(kind) or "")
        version = new_version()
        source = tmp_path / version
        shutil.copytree(store.fetch(kind, manifest.version), source)
        change(source)
        fields = {name: value for name, value in manifest if name in ManifestDraft.model_fields}
        return store.publish(source, ManifestDraft(**(fields | {"version": version}))).version

    return copy


def recommended(client: httpx.Client, user: str) -> str:
    """The version of the factors in an answer that must not fail."""
    response = client.get("/v1/recommendations", params={"user_id": user})
    assert response.status_code == 200, response.text
    assert response.json()["hits"]
    return str(response.json()["versions"]["cf"])


def report(stack: Stack, kind: str = KIND) -> dict[str, Any]:
    return dict(stack.shortlist.ask("artifacts", "trial", kind))


def strangers(directory: Path) -> None:
    """Factors of products that nobody sells."""
    factors = Factors.load(directory)
    Factors(
        user_ids=factors.user_ids,
        item_ids=[f"nobody-sells-{item}" for item in factors.item_ids],
        user_factors=factors.user_factors,
        item_factors=factors.item_factors,
        regularization=factors.regularization,
        alpha=factors.alpha,
        event_counts=factors.event_counts,
    ).save(directory)


class TestShadow:
    @pytest.mark.parametrize("kind", list(ASKED))
    def test_a_copy_of_the_active_version_agrees_with_it(
        self,
        stack: Stack,
        client: httpx.Client,
        copied: Copy,
        kind: ArtifactKind,
    ) -> None:
        version, (path, params) = copied(kind), ASKED[kind]
        begun = stack.shortlist.ask("artifacts", "shadow", kind, version, "--share", "1")
        past_the_cache = {"X-Consistency-Token": "1-0/1"}

        def seen() -> bool:
            for each in params:
                answer = client.get(path, params=each, headers=past_the_cache)
                assert answer.status_code == 200, answer.text
                assert version not in str(answer.json()["versions"])
            return bool(report(stack, kind)["figures"]["compared"] >= 5)

        assert wait_until(seen, timeout_s=GIVE_UP_S, poll_s=0.5)
        found = report(stack, kind)
        assert found["in_force"]
        assert found["trial"] == begun["trial"]
        figures = found["figures"]
        assert (figures["overlap_at_10"], figures["rank_correlation"], figures["score_shift"]) == (1.0, 1.0, 0.0)
        assert figures["trial"]["errors"] == 0
        assert figures["trial"]["p50_ms"] > 0
        stack.shortlist.ask("artifacts", "end", kind)
        assert not report(stack, kind)["in_force"]


class TestCanary:
    def test_its_users_get_it_and_the_others_do_not(self, stack: Stack, client: httpx.Client, copied: Copy) -> None:
        version, active = copied(), recommended(client, "1")
        stack.shortlist.ask("artifacts", "canary", KIND, version, "--share", "0.5")
        expected = {user: version if in_share(0.5, version, user) else active for user in USERS}
        assert set(expected.values()) == {version, active}
        assert wait_until(
            lambda: {user: recommended(client, user) for user in USERS} == expected, timeout_s=GIVE_UP_S, poll_s=0.5
        )
        # Each answer is in the cache by now, under the version of its user.
        assert [{user: recommended(client, user) for user in USERS} for _ in range(3)] == [expected] * 3
        search = {user: client.get("/v1/search", params={"q": "space", "user_id": user}).json() for user in USERS}
        assert {user: body["versions"]["cf"] for user, body in search.items()} == expected
        stack.shortlist.ask("artifacts", "end", KIND)
        assert wait_until(lambda: {recommended(client, user) for user in USERS} == {active}, timeout_s=GIVE_UP_S)

    def test_one_whose_answers_are_empty_is_taken_back_by_itself_and_no_request_fails(
        self, stack: Stack, client: httpx.Client, store: ArtifactStore, copied: Copy
    ) -> None:
        version, active = copied(change=strangers), recommended(client, "1")
        stack.shortlist.ask("artifacts", "canary", KIND, version, "--share", "1")

        def ended() -> bool:
            assert {recommended(client, user) for user in USERS} <= {active}
            return store.trials(KIND).current() is None

        assert wait_until(ended, timeout_s=GIVE_UP_S, poll_s=0.2)
        found = report(stack)
        assert found["ending"]["failed"]
        assert "it found nothing" in found["ending"]["reason"]

    def test_one_that_is_broken_on_disk_is_taken_back_by_itself(
        self, client: httpx.Client, store: ArtifactStore, copied: Copy
    ) -> None:
        version, active = copied(), recommended(client, "1")
        flip_a_bit(Path(store.root) / KIND / version / "item_factors.npy")
        trial = Trial.begun("canary", version, 1.0)
        store.trials(KIND).begin(trial)

        def ended() -> bool:
            assert {recommended(client, user) for user in USERS[:5]} == {active}
            return store.trials(KIND).current() is None

        assert wait_until(ended, timeout_s=GIVE_UP_S, poll_s=0.1)
        ending = store.trials(KIND).ending(trial.id)
        assert ending is not None
        assert "sha256 of item_factors.npy" in ending.reason
