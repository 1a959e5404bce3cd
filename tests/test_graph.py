from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError
from ray.serve import Application
from ray.serve.schema import ServeDeploySchema

import graph
from deployments.admission import AdmissionConfig
from deployments.config import GraphConfig
from ranking.config import RankingConfig

ROOT = Path(__file__).parent.parent
FORBIDDEN = (
    "torch",
    "sentence_transformers",
    "transformers",
    "training",
    "implicit",
    "ray.train",
    "ray.data",
    "ray.tune",
)


def bound(application: Application) -> Any:  # noqa: ANN401 - Serve's own, private
    """What Serve would deploy, of an application that nobody deployed."""
    return application._bound_deployment


def edges(application: Application) -> set[tuple[str, str]]:
    """Pairs of deployment names: who holds a handle to whom."""
    deployment = bound(application)
    found = set()
    for argument in deployment.init_args:
        if isinstance(argument, Application):
            found |= {(deployment.name, bound(argument).name)} | edges(argument)
    return found


def calls(cls: type) -> set[str]:
    """The methods of a deployment that do its work."""
    return {name for name in vars(cls) if not name.startswith("_")} - {"status", "check_health", "reconfigure"}


class TestApp:
    def test_the_gateway_calls_every_other_deployment_and_nobody_else_calls_any(self) -> None:
        others = ("search", "recommendation", "ranking", "ingestion")
        assert edges(graph.app(GraphConfig())) == {("gateway", name) for name in others}

    def test_the_readme_draws_this_graph(self) -> None:
        drawn = (ROOT / "README.md").read_text(encoding="utf-8").split("<!-- graph -->")[1]
        application = graph.app(GraphConfig())
        inner = [bound(one) for one in bound(application).init_args if isinstance(one, Application)]
        names = "|".join(deployment.name for deployment in inner)
        expected = {(one.name, method) for one in inner for method in calls(one.func_or_class)}
        assert set(re.findall(rf"\b({names})\.(\w+)", drawn)) == expected

    def test_serve_never_refuses_what_the_gateway_would_have_shed_itself(self) -> None:
        config, gateway = AdmissionConfig(), bound(graph.app(GraphConfig()))
        reads = config.most_reads + config.most_waiting_reads
        others = config.most_writes + config.most_pages + config.most_bodies
        assert reads + others < gateway.max_ongoing_requests

    def test_every_deployment_bounds_its_queue_and_surges_before_it_stops(self) -> None:
        application = graph.app(GraphConfig())
        every = [
            bound(application),
            *(bound(one) for one in bound(application).init_args if isinstance(one, Application)),
        ]
        assert all(0 < deployment._deployment_config.max_queued_requests <= 4096 for deployment in every)
        assert all(deployment._deployment_config.max_surge_percent > 0 for deployment in every)
        assert all(0 < deployment._deployment_config.health_check_period_s <= 10 for deployment in every)

    @pytest.mark.parametrize("args", [{"rankings": {}}, {"gateway": {"rank_share": 2}}, {"retrieval": {"rrf_k": -1}}])
    def test_a_wrong_argument_is_refused_before_anything_is_bound(self, args: dict[str, Any]) -> None:
        with pytest.raises(ValidationError):
            GraphConfig.model_validate(args)


class TestImport:
    def test_importing_the_graph_brings_no_training_code(self) -> None:
        program = f"import graph, sys; print([name for name in {FORBIDDEN} if name in sys.modules])"
        found = subprocess.run(
            [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True, timeout=120
        )
        assert found.stdout.strip() == "[]"

    def test_importing_the_graph_needs_no_settings_network_or_database(self) -> None:
        program = "import socket; socket.socket.connect = None; import graph; graph.app(graph.GraphConfig())"
        environment = {"PATH": "/usr/bin:/bin", "HOME": "/nonexistent"}
        subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=environment, check=True, timeout=120)


class TestServeFiles:
    @pytest.mark.parametrize("name", ["serve_config.yaml", "serve_local.yaml"])
    def test_a_file_is_what_serve_and_the_graph_accept(self, name: str) -> None:
        content = yaml.safe_load((ROOT / "configs" / name).read_text(encoding="utf-8"))
        schema = ServeDeploySchema.model_validate(content)
        (application,) = schema.applications
        assert application.import_path == "graph:app"
        GraphConfig.model_validate(application.args)
        (ranking,) = (one for one in application.deployments if one.name == "ranking")
        RankingConfig.model_validate(ranking.user_config)
        names = {deployment.name for deployment in application.deployments}
        assert names == {"gateway", "search", "recommendation", "ranking", "ingestion"}

    def test_production_runs_two_to_ten_replicas_of_each(self) -> None:
        content = yaml.safe_load((ROOT / "configs" / "serve_config.yaml").read_text(encoding="utf-8"))
        scaling = [deployment["autoscaling_config"] for deployment in content["applications"][0]["deployments"]]
        assert {(one["min_replicas"], one["max_replicas"]) for one in scaling} == {(2, 10)}

    def test_the_local_stack_runs_two_of_each(self) -> None:
        content = yaml.safe_load((ROOT / "configs" / "serve_local.yaml").read_text(encoding="utf-8"))
        assert {deployment["num_replicas"] for deployment in content["applications"][0]["deployments"]} == {2}
