from __future__ import annotations

import re
import shutil
import subprocess
from collections import Counter
from typing import Any

import pytest
import yaml

from cluster.state_directory import project_root
from deployments.alert_rules import RULES

MONITORING = project_root() / "cluster" / "monitoring"

needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool is not installed: apt-get install prometheus"
)


def alerts() -> list[dict[str, Any]]:
    """The rules of the file."""
    document = yaml.safe_load((MONITORING / "alerts.yaml").read_text())
    return [rule for group in document["groups"] for rule in group["rules"]]


def promtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["promtool", *arguments], cwd=MONITORING, capture_output=True, text=True, timeout=120, check=False
    )


class TestAlerts:
    @needs_promtool
    def test_prometheus_takes_them(self) -> None:
        done = promtool("check", "rules", "alerts.yaml")
        assert done.returncode == 0, done.stdout + done.stderr

    @needs_promtool
    def test_they_fire_when_they_should_and_not_otherwise(self) -> None:
        done = promtool("test", "rules", "alerts_test.yaml")
        assert done.returncode == 0, done.stdout + done.stderr

    @needs_promtool
    def test_prometheus_takes_the_sample_configuration(self) -> None:
        done = promtool("check", "config", "--syntax-only", "prometheus.yaml")
        assert done.returncode == 0, done.stdout + done.stderr

    def test_each_has_a_test_in_which_it_fires(self) -> None:
        text = (MONITORING / "alerts_test.yaml").read_text()
        fired = set(re.findall(r'ALERTS\{alertname="(\w+)"', text))
        assert fired == {rule["alert"] for rule in alerts()}

    def test_each_sign_of_an_alert_has_a_test_in_which_it_fires(self) -> None:
        text = (MONITORING / "alerts_test.yaml").read_text()
        signs = {rule["labels"]["sign"] for rule in alerts() if "sign" in rule["labels"]}
        assert {sign for sign in signs if f'sign="{sign}"' in text} == signs

    def test_each_says_what_is_wrong_and_where_to_read_on(self) -> None:
        for rule in alerts():
            assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}, rule["alert"]
            assert rule["annotations"]["runbook_url"].startswith("docs/failure-modes.md#")
            assert rule["labels"]["severity"] in {"warning", "critical"}

    def test_those_that_replicas_log_are_among_them(self) -> None:
        logged = Counter(rule.alert for rule in RULES)
        assert set(logged) <= {rule["alert"] for rule in alerts()}
        assert set(logged.values()) == {1}
