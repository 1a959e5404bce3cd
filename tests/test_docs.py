from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from catalogue.config import MaintenanceConfig
from deployments.admission import AdmissionConfig
from deployments.config import GatewayConfig, GraphConfig
from ranking.config import RankingConfig
from retrieval.config import RetrievalConfig
from storage.config import BreakerConfig, StorageConfig

ROOT = Path(__file__).parent.parent
CONFIGURATION = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]


def documented(section: str) -> dict[str, str]:
    """Field to default, as the table of *section* says."""
    text = re.split(rf"^##.*`{section}`$", CONFIGURATION, flags=re.MULTILINE)[1].split("\n#")[0]
    return dict(re.findall(r"^\| `(\w+)` \| (.+?) \|", text, flags=re.MULTILINE))


class TestConfigurationPage:
    @pytest.mark.parametrize(
        ("section", "model"),
        [
            ("gateway", GatewayConfig),
            ("admission", AdmissionConfig),
            ("retrieval", RetrievalConfig),
            ("storage", StorageConfig),
            ("breaker", BreakerConfig),
            ("maintenance", MaintenanceConfig),
            ("ranking", RankingConfig),
        ],
    )
    def test_describes_every_field_and_no_other(self, section: str, model: type[BaseModel]) -> None:
        assert documented(section).keys() == model.model_fields.keys()

    @pytest.mark.parametrize(
        ("section", "model"),
        [
            ("gateway", GatewayConfig),
            ("admission", AdmissionConfig),
            ("retrieval", RetrievalConfig),
            ("storage", StorageConfig),
            ("breaker", BreakerConfig),
        ],
    )
    def test_gives_the_defaults_that_the_code_has(self, section: str, model: type[BaseModel]) -> None:
        defaults = {name: float(field.default) for name, field in model.model_fields.items()}
        assert {name: float(value) for name, value in documented(section).items()} == defaults

    def test_gives_the_periods_that_the_code_has(self) -> None:
        given = documented("maintenance")
        defaults = {name: field.default for name, field in MaintenanceConfig.model_fields.items()}
        assert given.pop("event_retention_months") == "null"
        assert defaults.pop("event_retention_months") is None
        assert {name: float(value) for name, value in given.items()} == defaults

    def test_has_a_section_for_each_part_of_the_arguments(self) -> None:
        assert set(re.findall(r"^### `(\w+)`", CONFIGURATION, flags=re.MULTILINE)) == GraphConfig.model_fields.keys()


class TestPages:
    @pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
    def test_every_link_within_the_project_leads_somewhere(self, page: Path) -> None:
        text = page.read_text(encoding="utf-8")
        targets = [target for target in re.findall(r"\]\(([^)#]+)", text) if "://" not in target]
        assert [target for target in targets if not (page.parent / target).exists()] == []

    @pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
    def test_every_file_named_in_code_marks_exists(self, page: Path) -> None:
        named = re.findall(
            r"`((?:configs|scripts|deployments|docs|storage|training|cluster)/[\w./-]+\.\w+)`", page.read_text("utf-8")
        )
        assert [name for name in named if not (ROOT / name).exists()] == []
