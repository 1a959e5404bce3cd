from __future__ import annotations

import pytest

from cluster.application import read_config
from cluster.haproxy_front import WRITE_TIMEOUT_S
from cluster.state_directory import project_root
from deployments.admission import AdmissionConfig
from deployments.config import GatewayConfig
from deployments.ingestion import transaction_s
from storage.database import TOKEN_TIMEOUT_S


class TestGatewayConfig:
    def test_a_larger_write_may_take_longer(self) -> None:
        config = GatewayConfig(write_timeout_s=5, write_mib_s=3)
        assert (config.write_s(), config.write_s(2**20), config.write_s(10 * 2**20)) == (5, 8, 35)

    @pytest.mark.parametrize("file", ["serve_config.yaml", "serve_local.yaml"])
    def test_the_longest_write_outlasts_neither_serve_nor_the_proxy(self, file: str) -> None:
        limits = AdmissionConfig()
        longest_s = limits.body_timeout_s + GatewayConfig().write_s(limits.max_body_bytes)
        serve_s = read_config(project_root() / "configs" / file)["http_options"]["request_timeout_s"]
        assert longest_s < serve_s < WRITE_TIMEOUT_S


class TestTransaction:
    @pytest.mark.parametrize("write_s", [5.0, 5.3, 40.0])
    def test_it_leaves_time_to_say_how_it_ended(self, write_s: float) -> None:
        assert transaction_s(write_s) + TOKEN_TIMEOUT_S < write_s

    def test_a_short_one_keeps_most_of_the_time(self) -> None:
        assert transaction_s(1.0) == 0.75
