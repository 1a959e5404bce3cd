"""``shortlist evaluate`` where there is nothing to ask, and on a snapshot without any stack."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cluster.commands.evaluate import lacking, require_training
from cluster.errors import UsageError
from cluster.state_directory import project_root


def evaluate(state_dir: Path, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SHORTLIST_")}
    return subprocess.run(
        [sys.executable, "-m", "cluster.cli", "evaluate", "--json", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**environment, **settings, "SHORTLIST_STATE_DIR": str(state_dir)},
        cwd=project_root(),
    )


class TestEvaluateCommand:
    def test_without_a_stack_it_says_what_else_can_be_given(self, tmp_path: Path) -> None:
        done = evaluate(tmp_path)
        assert done.returncode == 3
        assert "--snapshot and --root" in json.loads(done.stdout)["error"]

    def test_what_the_evaluation_says_last_is_the_error(self, tmp_path: Path) -> None:
        done = evaluate(tmp_path, "--snapshot=latest", f"--root={tmp_path}")
        assert done.returncode == 1
        assert "No version of collaborative is in use" in json.loads(done.stdout)["error"]
        assert "✓" not in done.stderr

    def test_an_unknown_hold_out_is_a_wrong_option(self, tmp_path: Path) -> None:
        assert evaluate(tmp_path, "--holdout=never", "--snapshot=latest", f"--root={tmp_path}").returncode == 2


class TestRequireTraining:
    def test_what_is_not_installed_is_named_with_the_way_to_get_it(self) -> None:
        assert lacking(("json", "no_such_module")) == ["no_such_module"]
        with pytest.raises(UsageError, match=r"no_such_module.*shortlist\[training\]"):
            require_training(("no_such_module",))
        require_training()
