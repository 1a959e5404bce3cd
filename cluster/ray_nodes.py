"""The Ray clusters of a local stack: one that serves, with its worker nodes, and one that trains."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path

from cluster.errors import ClusterError
from cluster.local_postgres import LocalPostgres
from cluster.ports import set_aside
from cluster.ray_cluster import RayCluster, RayWorker
from cluster.ray_node import NodePlan, RayNode
from cluster.record import WORKER
from cluster.stack_options import StackOptions
from cluster.state_directory import StateDirectory

log = logging.getLogger("supervisor")

SERVING_CPUS = 16
SERVING_OBJECT_STORE_BYTES = 100_000_000
ASK_TIMEOUT_S = 5.0


class RayNodes:
    """
    Every Ray node that the supervisor runs.

    Args:
        options: What was asked for.
        state: The state directory, prepared, with Ray's token in it.
        servers: The Postgres servers that graph and jobs use.
        redis_url: The cache that the graph uses.
    """

    def __init__(self, options: StackOptions, state: StateDirectory, servers: LocalPostgres, redis_url: str) -> None:
        self.redeploy = False
        self._options = options
        self._state = state
        set_aside(options.http_port, options.dashboard_port, options.training_dashboard_port)
        self._environment = settings(state, servers.database_url, [servers.replica_url], redis_url)
        self.serving = self._cluster(
            NodePlan("ray-serving", state.alias / "serve", SERVING_CPUS, SERVING_OBJECT_STORE_BYTES),
            dashboard_port=options.dashboard_port,
            haproxy=state.alias / "h",
        )
        self.training = self._cluster(
            # Answers come before training where there are too few CPUs for both.
            NodePlan("ray-training", state.alias / "train", max(4, os.cpu_count() or 1), 200_000_000, niceness=10),
            dashboard_port=options.training_dashboard_port,
            haproxy=None,
        )
        self._all_workers = [self._worker(number) for number in range(1, options.workers + 1)]

    @property
    def clusters(self) -> list[RayCluster]:
        """The head nodes that were asked for."""
        return [cluster for cluster in (self.serving, self.training) if cluster.name in self._options.parts]

    @property
    def workers(self) -> list[RayWorker]:
        """The worker nodes that were asked for."""
        return self._all_workers if self.serving.name in self._options.parts else []

    @property
    def wanted(self) -> tuple[RayNode, ...]:
        """Every node that was asked for."""
        return (*self.clusters, *self.workers)

    @property
    def all(self) -> tuple[RayNode, ...]:
        """Every node, in the order to stop them in."""
        return (self.training, *self._all_workers, self.serving)

    def trains(self, kind: str) -> bool:
        """Return whether the training cluster runs a job of that kind; also when it does not answer."""
        try:
            jobs = self.training.api.jobs_under_way(timeout_s=ASK_TIMEOUT_S)
        except ClusterError:
            return True
        return any((job.get("metadata") or {}).get("shortlist_job") == kind for job in jobs)

    def tend(self) -> None:
        """Deploy again where a cluster was started again, and keep its logs where they are looked for."""
        if self.redeploy and self.serving.answers():
            self._deploy_again()
        self._name_logs()

    def _deploy_again(self) -> None:
        """Give a serving cluster that was started again what was deployed last."""
        self.redeploy = False
        if not self._state.serve_config.exists():
            return
        try:
            self.serving.api.deploy(json.loads(self._state.serve_config.read_text()))
            log.info("ray-serving: deployed %s again", self._state.serve_config)
        except (ClusterError, ValueError):
            self.redeploy = True
            log.exception("ray-serving: could not deploy again; trying again")

    def _name_logs(self) -> None:
        """Keep ``logs/<node>`` leading to the log directory of the node's session."""
        for node in self.wanted:
            sessions = sorted((self._state.run / node.plan.directory.name).glob("session_2*"))
            link = self._state.logs / node.name
            if sessions:
                target = Path("..", "run", node.plan.directory.name, sessions[-1].name, "logs")
                if not link.is_symlink() or link.readlink() != target:
                    link.unlink(missing_ok=True)
                    link.symlink_to(target)

    def _cluster(self, plan: NodePlan, *, dashboard_port: int, haproxy: Path | None) -> RayCluster:
        return RayCluster(
            plan,
            dashboard_port=dashboard_port,
            environment=self._environment,
            python=self._state.python,
            haproxy=haproxy,
            token=self._state.token,
            log=self._state.logs / f"{plan.name}.log",
        )

    def _worker(self, number: int) -> RayWorker:
        name = f"{WORKER}{number}"
        plan = NodePlan(name, self._state.alias / f"w{number}", SERVING_CPUS, SERVING_OBJECT_STORE_BYTES)
        return RayWorker(self.serving, plan, log=self._state.logs / f"{name}.log")


def settings(state: StateDirectory, database_url: str, replica_urls: list[str], redis_url: str) -> dict[str, str]:
    """Return the variables by which the graph and the training jobs find everything."""
    return {
        "SHORTLIST_DATABASE_URL": database_url,
        "SHORTLIST_REPLICA_URLS": ",".join(replica_urls),
        "SHORTLIST_REDIS_URL": redis_url,
        "SHORTLIST_ARTIFACTS": str(state.artifacts),
        "SHORTLIST_ARTIFACT_CACHE": str(state.artifact_cache),
    }
