from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from cluster.child import wait_until
from tests.stack import Stack

# tests/cluster/test_rebuild.py has each step of it; here they are put together, which takes minutes.
pytestmark = [pytest.mark.stack, pytest.mark.long, pytest.mark.usefixtures("left_well")]

# Noticing, training and loading on a busy machine.
GIVE_UP_S = 600.0
# A kept answer was made while all was well.
PAST_THE_CACHE = {"X-Consistency-Token": "1-0/1"}


@dataclass(frozen=True)
class Kind:
    """An artifact: a file of it, who holds it, and a read that shows whether it is used."""

    name: str
    file: str
    holder: str
    path: str
    params: dict[str, str]
    stage: str
    version: str


EMBEDDINGS = Kind("embeddings", "index.faiss", "search", "/v1/search", {"q": "star wars"}, "semantic", "index")
FACTORS = Kind(
    "collaborative",
    "item_factors.npy",
    "recommendation",
    "/v1/recommendations",
    {"user_id": "1"},
    "collaborative",
    "cf",
)


def answer(client: httpx.Client, kind: Kind) -> dict[str, Any]:
    """A read that must be answered with something, whatever is lost."""
    response = client.get(kind.path, params=kind.params, headers=PAST_THE_CACHE)
    assert response.status_code == 200, response.text
    document: dict[str, Any] = response.json()
    assert document["hits"]
    return document


def stage(document: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(stage for stage in document["stages"] if stage["name"] == name)
    return found


def replicas(stack: Stack, kind: Kind) -> set[int]:
    """The processes that hold the kind."""
    rows = stack.status()["processes"]
    return {row["pid"] for row in rows if row["name"].startswith(f"serve:{kind.holder}:") and row["healthy"]}


@pytest.mark.parametrize("kind", [pytest.param(EMBEDDINGS, id="embeddings"), pytest.param(FACTORS, id="factors")])
class TestEveryVersionCorrupt:
    def test_it_is_trained_anew_and_taken_up_without_a_restart_and_no_read_fails(
        self, stack: Stack, client: httpx.Client, kind: Kind
    ) -> None:
        before = stage(answer(client, kind), kind.stage)
        assert before["status"] == "ok", before
        lost = {path.parent.name for path in (stack.state_dir / "artifacts" / kind.name).glob(f"*/{kind.file}")}
        for version in lost:
            path = stack.state_dir / "artifacts" / kind.name / version / kind.file
            path.write_bytes(path.read_bytes()[:-1])
        victim = min(replicas(stack, kind))
        os.kill(victim, signal.SIGKILL)

        def unused() -> bool:
            return bool(stage(answer(client, kind), kind.stage)["cause"] == "artifact_corrupt")

        assert wait_until(unused, timeout_s=GIVE_UP_S, poll_s=0.1)
        assert wait_until(lambda: len(replicas(stack, kind)) == 2, timeout_s=GIVE_UP_S)
        alive = replicas(stack, kind)

        def taken_up() -> bool:
            documents = [answer(client, kind) for _ in range(10)]
            return all(
                stage(document, kind.stage)["status"] == "ok" and document["versions"][kind.version] not in lost
                for document in documents
            )

        assert wait_until(taken_up, timeout_s=GIVE_UP_S, poll_s=0.5)
        assert wait_until(lambda: stack.status()["rebuilds"][-1]["condition"] == "done", timeout_s=GIVE_UP_S)
        assert stack.status()["rebuilds"][-1]["kind"] == kind.name
        assert replicas(stack, kind) == alive
