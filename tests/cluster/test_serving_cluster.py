from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import yaml

from cluster.child import wait_until
from cluster.record import StackRecord
from tests.command import FREE_PORTS, Shortlist
from tests.directories import short_directory

pytestmark = pytest.mark.long

APPLICATION = """
from ray import serve
from starlette.requests import Request


@serve.deployment(num_replicas=2, ray_actor_options={"num_cpus": 0.1})
class Greeter:
    def __init__(self, word: str) -> None:
        if word == "bad":
            raise ValueError("a bad word")
        self.word = word

    async def __call__(self, request: Request) -> str:
        return self.word


def app(args: dict) -> serve.Application:
    return Greeter.bind(args["word"])
"""


@pytest.fixture(scope="module")
def directory() -> Iterator[Path]:
    with short_directory("shortlist-serving-") as directory:
        (directory / "greeter.py").write_text(APPLICATION)
        yield directory


@pytest.fixture(scope="module")
def shortlist(directory: Path) -> Iterator[Shortlist]:
    shortlist = Shortlist(directory / "state")
    shortlist.ask("up", "--detach", "--no-deploy", "--only=ray-serving", *FREE_PORTS)
    yield shortlist
    shortlist.run("down")
    assert shortlist.processes() == []


def config(directory: Path, word: str) -> str:
    path = directory / f"{word}.yaml"
    application = {
        "name": "greeter",
        "route_prefix": "/",
        "import_path": "greeter:app",
        "args": {"word": word},
        "runtime_env": {"env_vars": {"PYTHONPATH": str(directory)}},
    }
    path.write_text(yaml.safe_dump({"applications": [application]}))
    return str(path)


def says(url: str, word: str) -> bool:
    try:
        return httpx.get(url, timeout=2).text == word
    except httpx.HTTPError:
        return False


class TestDeploy:
    def test_what_was_deployed_answers_and_its_replicas_are_listed(self, directory: Path, shortlist: Shortlist) -> None:
        url = shortlist.ask("deploy", config(directory, "hello"))["url"]
        assert says(url, "hello")
        names = [row["name"] for row in shortlist.ask("status")["processes"]]
        assert [name.rsplit(":", 1)[0] for name in names] == ["ray-serving", "serve:Greeter", "serve:Greeter"]

    def test_a_failure_is_told_in_serves_own_words(self, directory: Path, shortlist: Shortlist) -> None:
        done = shortlist.run("deploy", config(directory, "bad"))
        assert done.returncode == 7
        assert "ValueError: a bad word" in done.stderr

    def test_a_cluster_that_is_killed_comes_back_with_what_was_deployed(
        self, directory: Path, shortlist: Shortlist
    ) -> None:
        url = shortlist.ask("deploy", config(directory, "again"))["url"]
        record = StackRecord.read(shortlist.state.record)
        assert record is not None
        os.kill(record.parts["ray-serving"].process.pid, signal.SIGKILL)
        assert wait_until(lambda: not says(url, "again"), timeout_s=60)
        assert wait_until(lambda: says(url, "again"), timeout_s=240, poll_s=0.5)

    def test_a_second_stack_beside_it_answers_for_itself(self, directory: Path, shortlist: Shortlist) -> None:
        first = shortlist.ask("deploy", config(directory, "one"))["url"]
        other = Shortlist(directory / "other")
        other.ask("up", "--detach", "--no-deploy", "--only=ray-serving", *FREE_PORTS)
        second = other.ask("deploy", config(directory, "two"))["url"]
        assert says(second, "two")
        assert says(first, "one")
        other.run("down")
        assert other.processes() == []
        assert says(first, "one")

    def test_killing_guard_and_supervisor_at_once_leaves_nothing(self, directory: Path, shortlist: Shortlist) -> None:
        shortlist.ask("deploy", config(directory, "last"))
        record = StackRecord.read(shortlist.state.record)
        assert record is not None
        os.kill(record.guard.pid, signal.SIGKILL)
        os.kill(record.supervisor.pid, signal.SIGKILL)
        assert wait_until(lambda: shortlist.processes() == [], timeout_s=120, poll_s=0.5), shortlist.processes()
