from __future__ import annotations

from pathlib import Path

import pytest

from cluster.application import DEFAULT_CONFIG, listening_at, read_config, spread
from cluster.errors import UsageError


class TestReadConfig:
    def test_the_local_configuration_is_one(self) -> None:
        assert [each["import_path"] for each in read_config(DEFAULT_CONFIG)["applications"]] == ["graph:app"]

    @pytest.mark.parametrize(
        ("text", "problem"),
        [
            ("applications: [", "is not YAML"),
            ("applications: 3", "applications"),
            (
                "applications: [{name: a, import_path: a:b, deployments: [{name: x, num_replicas: 0.5}]}]",
                "replicas",
            ),
        ],
    )
    def test_what_is_none_is_refused_with_the_field(self, tmp_path: Path, text: str, problem: str) -> None:
        config = tmp_path / "serve.yaml"
        config.write_text(text)
        with pytest.raises(UsageError, match=problem):
            read_config(config)

    def test_a_missing_file_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match=r"absent\.yaml cannot be read: No such file"):
            read_config(tmp_path / "absent.yaml")


class TestListeningAt:
    def test_the_address_is_replaced_and_the_rest_kept(self) -> None:
        config = {"http_options": {"host": "shop.example", "port": 1, "request_timeout_s": 60}, "applications": []}
        assert listening_at(config, "127.0.0.1", 8000) == {
            "http_options": {"host": "127.0.0.1", "port": 8000, "request_timeout_s": 60},
            "applications": [],
        }


class TestSpread:
    def test_replicas_are_shared_out_evenly_and_what_is_said_is_kept(self) -> None:
        deployments: list[dict[str, object]] = [
            {"name": "three", "num_replicas": 3},
            {"name": "said", "num_replicas": 3, "max_replicas_per_node": 3},
            {"name": "scaled", "autoscaling_config": {"min_replicas": 2}},
        ]
        config = {"applications": [{"name": "a", "deployments": deployments}, {"name": "b"}]}
        assert spread(config, nodes=2) == {
            "applications": [
                {"name": "a", "deployments": [{**deployments[0], "max_replicas_per_node": 2}, *deployments[1:]]},
                {"name": "b"},
            ]
        }
        assert spread(config, nodes=1) == config
