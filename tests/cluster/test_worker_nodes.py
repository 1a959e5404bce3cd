from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import yaml

from cluster.child import wait_until
from tests.command import FREE_PORTS, Shortlist
from tests.directories import short_directory

pytestmark = pytest.mark.long

APPLICATION = """
import ray
from ray import serve
from starlette.requests import Request


@serve.deployment(ray_actor_options={"num_cpus": 0.1})
class Where:
    async def __call__(self, request: Request) -> str:
        return ray.get_runtime_context().get_node_id()


def app(args: dict) -> serve.Application:
    return Where.bind()
"""


@pytest.fixture
def url(shortlist: Shortlist) -> str:
    """Where two replicas answer with the node they are on."""
    directory = shortlist.root.parent
    (directory / "where.py").write_text(APPLICATION)
    application = {
        "name": "where",
        "route_prefix": "/",
        "import_path": "where:app",
        "args": {},
        "runtime_env": {"env_vars": {"PYTHONPATH": str(directory)}},
        "deployments": [{"name": "Where", "num_replicas": 2}],
    }
    path = directory / "where.yaml"
    path.write_text(yaml.safe_dump({"applications": [application]}))
    return str(shortlist.ask("deploy", str(path))["url"])


@pytest.fixture
def shortlist() -> Iterator[Shortlist]:
    with short_directory("shortlist-nodes-") as directory:
        shortlist = Shortlist(Path(directory) / "state")
        shortlist.ask("up", "--detach", "--no-deploy", "--only=ray-serving", "--workers=1", *FREE_PORTS)
        yield shortlist
        shortlist.run("down")
        assert shortlist.processes() == []


def nodes(url: str) -> set[str]:
    """The nodes that answer a few requests."""
    answers = (httpx.get(url, timeout=10) for _ in range(8))
    return {answer.text for answer in answers if answer.is_success}


def worker_pid(shortlist: Shortlist) -> int | None:
    """The keeper of the worker node, if that works."""
    processes = shortlist.ask("status")["processes"]
    return next((each["pid"] for each in processes if each["name"] == "ray-worker-1" and each["healthy"]), None)


class TestWorkerNodes:
    def test_replicas_are_spread_and_a_node_that_is_lost_comes_back(self, shortlist: Shortlist, url: str) -> None:
        before = nodes(url)
        assert len(before) == 2
        pid = worker_pid(shortlist)
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        assert wait_until(lambda: worker_pid(shortlist) not in {None, pid}, timeout_s=180, poll_s=0.5)
        assert wait_until(lambda: len(nodes(url) - before) == 1 and len(nodes(url)) == 2, timeout_s=180, poll_s=0.5)
