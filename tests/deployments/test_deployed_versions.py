from __future__ import annotations

from typing import Any

from contracts.arms import in_share, searcher
from contracts.requests import RecommendationRequest, SearchRequest
from contracts.versions import Versions
from deployments.deployed_versions import DeployedVersions
from deployments.graph_health import GraphHealth

NOW = Versions(index="i1", cf="c1")
USERS = [str(number) for number in range(50)]


class Told(GraphHealth):
    """Every part says what it is told to."""

    parts = ("search", "recommendation", "ranking")

    def __init__(self, **statuses: dict[str, Any]) -> None:
        self.statuses = statuses

    async def status(self, name: str, *, timeout_s: float = 1.0) -> dict[str, Any]:
        assert timeout_s > 0
        return self.statuses.get(name, {"healthy": False})


def trial(mode: str, version: str) -> dict[str, Any]:
    return {"id": "t", "mode": mode, "version": version, "share": 0.5}


class TestOfArm:
    async def test_users_of_a_canary_get_its_versions(self) -> None:
        search = {"version": "i1", "trial": trial("canary", "i2")}
        versions = DeployedVersions(Told(search=search, recommendation={"trial": trial("canary", "c2")}))
        await versions.ask()
        seen = set()
        for user in USERS:
            request = SearchRequest(q="wine", user_id=user)
            of_arm = versions.of_arm(request, NOW)
            assert of_arm.index == ("i2" if in_share(0.5, "i2", searcher(request) or "") else "i1")
            assert of_arm.cf == ("c2" if in_share(0.5, "c2", user) else "c1")
            recommended = versions.of_arm(RecommendationRequest(user_id=user), NOW)
            assert (recommended.index, recommended.cf) == ("i1", of_arm.cf)
            seen.add((of_arm.index, of_arm.cf))
        assert len(seen) == 4
        assert versions.of_arm(RecommendationRequest(), NOW) == NOW

    async def test_a_shadow_changes_no_answer(self) -> None:
        versions = DeployedVersions(Told(search={"version": "i1", "trial": trial("shadow", "i2")}))
        await versions.ask()
        assert {versions.of_arm(SearchRequest(q="wine", user_id=user), NOW) for user in USERS} == {NOW}

    async def test_an_end_is_followed_and_silence_is_not_one(self) -> None:
        told = Told(search={"version": "i1", "trial": trial("canary", "i2")})
        versions = DeployedVersions(told)
        await versions.ask()
        told.statuses = {}
        await versions.ask()
        assert versions.current.index_canary is not None
        told.statuses = {"search": {"version": "i1", "trial": None}}
        await versions.ask()
        assert versions.current.index_canary is None
