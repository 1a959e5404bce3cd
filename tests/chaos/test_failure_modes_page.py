from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from bench.chaos.faults import BY_NAME

ROOT = Path(__file__).parent.parent.parent
PAGE = (ROOT / "docs" / "failure-modes.md").read_text(encoding="utf-8")
RULES = yaml.safe_load((ROOT / "cluster" / "monitoring" / "alerts.yaml").read_text(encoding="utf-8"))
ANCHORS = set(re.findall(r"^#+ ([\w-]+)$", PAGE, flags=re.MULTILINE))


class TestFailureModesPage:
    @pytest.mark.parametrize("name", BY_NAME)
    def test_a_runbook_names_every_fault_that_is_tried(self, name: str) -> None:
        assert f"`{name}`" in PAGE.split("## Runbooks")[1]

    def test_every_alert_leads_to_a_runbook(self) -> None:
        links = {
            rule["annotations"]["runbook_url"].partition("#")[2] for group in RULES["groups"] for rule in group["rules"]
        }
        assert links <= ANCHORS

    def test_every_fault_named_in_a_runbook_is_tried(self) -> None:
        tried = re.findall(r"^Tried as (.+?)\.$", PAGE, flags=re.MULTILINE | re.DOTALL)
        assert {name for names in tried for name in re.findall(r"`([\w-]+)`", names)} == set(BY_NAME)
