"""The commands of docs/training.md: those that need no Ray cluster are run as they stand, all flags are checked."""

from __future__ import annotations

import importlib
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.training.conftest import Fetch
from tests.training.snapshots import EVENTS, MANY, USERS
from training.pipeline_steps import NAMES

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")


def section(title: str) -> str:
    """What stands below a heading, up to the next of its level."""
    return PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]


def commands(title: str) -> list[list[str]]:
    """The words of each command of a section that can be run as it stands."""
    blocks = re.findall(r"```bash\n(.*?)```", section(title), flags=re.DOTALL)
    return [
        shlex.split(line, comments=True) for block in blocks for line in block.splitlines() if line.startswith("python")
    ]


@pytest.fixture
def environment(database_url: str, fetch: Fetch, tmp_path: Path) -> dict[str, str]:
    for statement in (MANY, EVENTS, USERS):
        fetch(statement)
    settings = {
        "SHORTLIST_DATABASE_URL": database_url,
        "SHORTLIST_REPLICA_URLS": "",
        "SHORTLIST_ARTIFACTS": str(tmp_path / "artifacts"),
        "PYTHONPATH": str(ROOT),
    }
    return dict(os.environ) | settings


def jobs() -> list[list[str]]:
    """The module and flags of each training job that the page starts, by hand or as a Ray job."""
    text = PAGE.replace("\\\n", " ")
    blocks = re.findall(r"```bash\n(.*?)```", text, flags=re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines() if " -m training." in line]
    return [shlex.split(line.split(" -m ", 1)[1], comments=True) for line in lines]


def needs_a_cluster(words: list[str]) -> bool:
    """Whether the command of the pipeline runs jobs on Ray."""
    return "training.pipeline" in words and "--only" not in words


class TestTrainingPage:
    def test_its_commands_run(self, environment: dict[str, str]) -> None:
        found = [words for title in ("Snapshots", "The pipeline") for words in commands(title)]
        assert len(found) == 8
        for _, *arguments in [words for words in found if not needs_a_cluster(words)]:
            done = subprocess.run(
                [sys.executable, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
            )
            # One event in eleven of these is of a product that is not there: an alarm.
            assert done.returncode == (1 if "--strict" in arguments else 0), done.stdout + done.stderr

    @pytest.mark.parametrize("words", jobs(), ids=" ".join)
    def test_its_flags_are_those_of_the_job(
        self, words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        module, *flags = words
        (tmp_path / "settings.yaml").write_text("tune: 30\n")
        (tmp_path / "pipeline.yaml").write_text("snapshot: {strict: true}\n")
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("SHORTLIST_ARTIFACTS", str(tmp_path))
        monkeypatch.setattr(sys, "argv", [module, *flags, "--check-flags"])
        with pytest.raises(SystemExit) as ended:
            importlib.import_module(module).main()
        assert ended.value.code in {0, None}

    def test_its_pipeline_file_is_understood(self, environment: dict[str, str], tmp_path: Path) -> None:
        (content,) = re.findall(r"```yaml\n(.*?)```", section("The pipeline"), flags=re.DOTALL)
        assert {*yaml.safe_load(content)} == {*NAMES}
        for name, flags in yaml.safe_load(content).items():
            file = tmp_path / f"{name}.yaml"
            file.write_text(yaml.safe_dump(flags))
            command = [sys.executable, "-m", f"training.{name}", f"--config={file}", "--check-flags"]
            done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
            assert (done.returncode, done.stdout) == (0, ""), done.stderr
