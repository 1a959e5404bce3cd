"""The walk-through of docs/training.md: every command, in order, on a running stack."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from artifacts.manifest import KINDS
from artifacts.store import ArtifactStore
from cluster.child import wait_until
from cluster.state_directory import project_root
from cluster.training_run import last_json
from tests.stack import Stack

pytestmark = pytest.mark.stack

PAGE = (project_root() / "docs" / "training.md").read_text(encoding="utf-8")
QUICK = ("", "Look at the data", "Compare")


def steps() -> dict[str, str]:
    """The commands of each step by its name; those before the first one by the empty text."""
    section = PAGE.split("\n## A walk-through\n")[1].split("\n## ")[0]
    parts = re.split(r"^\*\*([^*]+)\.\*\*", section, flags=re.MULTILINE)
    named = zip(["", *parts[1::2]], parts[::2], strict=True)
    return {name: "".join(re.findall(r"```bash\n(.*?)```", text, flags=re.DOTALL)) for name, text in named}


class Walk:
    """A shell of somebody who follows the page, in a directory of its own."""

    def __init__(self, stack: Stack, directory: Path) -> None:
        status = stack.status()
        self._places = {
            "SHORTLIST_STATE_DIR=.shortlist": f"SHORTLIST_STATE_DIR={stack.state_dir}",
            "TRAINING=http://127.0.0.1:8266": f"TRAINING={status['training_dashboard_url']}",
            "SHOP=http://127.0.0.1:8000": f"SHOP={stack.url}",
        }
        self._directory = directory
        (directory / "configs").symlink_to(project_root() / "configs")
        programs = directory / "programs"
        programs.mkdir()
        for name, module in (("shortlist", "cluster.cli"), ("ray", "ray.scripts.scripts"), ("python", "")):
            words = f"{sys.executable} {f'-m {module}' if module else ''}"
            (programs / name).write_text(f'#!/bin/sh\nexec {words} "$@"\n')
            (programs / name).chmod(0o755)
        self._environment = stack.shortlist.environment() | {
            "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(project_root()),
        }

    def follow(self, commands: str) -> str:
        """What *commands* say, all of which have to end well."""
        for told, ours in self._places.items():
            assert commands.count(told) == 1
            commands = commands.replace(told, ours)
        done = subprocess.run(
            ["bash", "-exo", "pipefail", "-c", commands],
            cwd=self._directory,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=1100,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout


@pytest.fixture
def walk(stack: Stack, tmp_path: Path) -> Iterator[Walk]:
    """What it publishes and activates is taken away again."""
    store = ArtifactStore(str(stack.shortlist.state.artifacts))
    active = {kind: store.active_version(kind) for kind in KINDS}
    there = {kind: set(store.versions(kind)) for kind in KINDS}
    yield Walk(stack, tmp_path)
    for kind, version in active.items():
        if version is not None and store.active_version(kind) != version:
            stack.shortlist.ask("artifacts", "activate", kind, version, "--force")
        for made in set(store.versions(kind)) - there[kind]:
            shutil.rmtree(Path(store.root) / kind / made)
    for name in ("snapshots", "weights"):
        shutil.rmtree(Path(store.root) / name, ignore_errors=True)


def ended(said: str) -> dict[str, dict[str, Any]]:
    """The last line of each job, by its kind."""
    found = [last_json([line]) for line in said.splitlines()]
    return {document["kind"]: document for document in found if "kind" in document}


class TestWalkThrough:
    def test_its_quick_commands_run(self, walk: Walk) -> None:
        said = walk.follow("".join(steps()[name] for name in QUICK))
        assert ended(said)["snapshot"]["counts"]["products"] > 1000
        assert "ndcg_at_10" in said

    @pytest.mark.long
    def test_every_command_runs_in_order(self, walk: Walk, stack: Stack) -> None:
        said = walk.follow("".join(steps().values()))
        last = ended(said)
        assert (
            last["collaborative"]["metrics"]["ndcg_at_10"] > last["collaborative"]["metrics"]["popularity_ndcg_at_10"]
        )
        outcomes = {each["step"]: each["outcome"] for each in last["pipeline"]["steps"]}
        assert outcomes.pop("weights") in {"made", "up to date"}
        assert outcomes == {
            "snapshot": "made",
            "popularity": "made",
            "embeddings": "up to date",
            "collaborative": "made",
        }
        assert "kept: NDCG@10 of the newer clicks is better" in said
        assert json.loads(stack.shortlist.state.serve_config.read_text())["applications"]
        assert wait_until(stack.is_well, timeout_s=180, poll_s=0.25)
