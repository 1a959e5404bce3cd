"""The health checks of the deployments while what they depend on is down, and of a replica that is stuck."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest

from cluster.state_directory import project_root
from deployments import artifact_watch, catalogue_watch
from deployments.config import GraphConfig
from deployments.ingestion import IngestionDeployment
from deployments.ranking import RankingDeployment
from deployments.recommendation import RecommendationDeployment
from deployments.search import SearchDeployment
from tests.directories import short_directory

Fault = Literal["refused", "frozen"]
ROUNDS_S = 2.5
DEPLOYMENTS = {
    "search": SearchDeployment,
    "recommendation": RecommendationDeployment,
    "ranking": RankingDeployment,
    "ingestion": IngestionDeployment,
}


async def made(deployment: Any) -> Any:  # noqa: ANN401  Serve hides the class
    replica = deployment.func_or_class.__new__(deployment.func_or_class)
    await replica.__init__(*([] if deployment is RankingDeployment else [GraphConfig()]))
    return replica


@pytest.fixture(params=["refused", "frozen"])
def _everything_down(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Postgres, its replica and Redis refuse, or accept and say nothing; the artifacts cannot be read, or hang."""
    fault: Fault = request.param
    with short_directory("shortlist-down-") as directory:
        artifacts = directory / "artifacts"
        sockets = [directory / name for name in (".s.PGSQL.5432", ".s.PGSQL.5433", "redis.sock")]
        silent = [silent_server(path) for path in sockets] if fault == "frozen" else []
        for kind in ("embeddings", "collaborative"):
            (artifacts / kind).mkdir(parents=True)
            if fault == "frozen":
                os.mkfifo(artifacts / kind / "ACTIVE")
            else:
                (artifacts / kind / "ACTIVE").mkdir()
        monkeypatch.setenv("SHORTLIST_DATABASE_URL", f"postgresql://nobody@/nothing?host={directory}&port=5432")
        monkeypatch.setenv("SHORTLIST_REPLICA_URLS", f"postgresql://nobody@/nothing?host={directory}&port=5433")
        monkeypatch.setenv("SHORTLIST_REDIS_URL", f"unix://{directory}/redis.sock")
        monkeypatch.setenv("SHORTLIST_ARTIFACTS", str(artifacts))
        monkeypatch.setattr(artifact_watch, "FIRST_LOAD_S", 0.5)
        monkeypatch.setattr(catalogue_watch, "FIRST_READ_S", 0.5)
        for deployment in ("search", "recommendation"):
            monkeypatch.setattr(f"deployments.{deployment}.WARM_UP_S", 0.5)
        yield
        for server in silent:
            server.close()
        for pipe in artifacts.glob("*/ACTIVE") if fault == "frozen" else ():
            release(pipe)


def silent_server(path: Path) -> socket.socket:
    """A server that is stopped: the kernel accepts for it, and it says nothing."""
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(path))
    server.listen(1000)
    return server


def release(pipe: Path) -> None:
    """Let those that wait for a writer of *pipe* go on."""
    with contextlib.suppress(OSError):
        os.close(os.open(pipe, os.O_WRONLY | os.O_NONBLOCK))


@pytest.mark.usefixtures("_everything_down")
# Serve awaits what asyncio does not.
@pytest.mark.filterwarnings("ignore:coroutine 'IngestionDeployment.__del__' was never awaited")
class TestWithEverythingDown:
    async def test_no_health_check_fails(self) -> None:
        replicas = dict(zip(DEPLOYMENTS, await asyncio.gather(*map(made, DEPLOYMENTS.values())), strict=True))
        for wait_s in (0.0, ROUNDS_S):
            await asyncio.sleep(wait_s)
            await asyncio.gather(*(replica.check_health() for replica in replicas.values()))
        failures = {name: replica._health.status()["failures"] for name, replica in replicas.items()}
        assert failures == dict.fromkeys(DEPLOYMENTS, 0)
        await replicas["ingestion"].__del__()


class TestInServe:
    @pytest.mark.long
    def test_a_replica_whose_threads_are_all_stuck_is_replaced(self) -> None:
        """Real Serve, in a cluster of its own that ends with the process."""
        with short_directory("shortlist-stuck-") as directory:
            environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
            environment |= {"PYTHONPATH": str(project_root()), "RAY_USAGE_STATS_ENABLED": "0"}
            environment["RAY_raylet_start_wait_time_s"] = "240"
            script = Path(__file__).with_name("stuck_replica.py")
            done = subprocess.run(
                [sys.executable, str(script), str(directory)],
                env=environment,
                capture_output=True,
                text=True,
                timeout=500,
                check=False,
            )
        assert done.returncode == 0, done.stderr[-5000:]
        assert done.stdout.splitlines()[-1] == "replaced"
