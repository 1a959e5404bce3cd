"""The ``shortlist`` command as a test runs it, and the processes that a stack has."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from cluster.state_directory import StateDirectory, project_root

FREE_PORTS = ("--http-port=0", "--dashboard-port=0", "--training-dashboard-port=0")


@dataclass(frozen=True)
class Shortlist:
    """The command on one state directory."""

    root: Path

    @property
    def state(self) -> StateDirectory:
        """The paths below it."""
        return StateDirectory(self.root.resolve())

    def command(self, *arguments: str) -> list[str]:
        """The words of a call."""
        return [sys.executable, "-m", "cluster.cli", *arguments, "--state-dir", str(self.root)]

    def run(self, *arguments: str, timeout_s: float = 300.0) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        return subprocess.run(
            self.command(*arguments),
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
            env=self.environment(),
            cwd=project_root(),
        )

    def ask(self, *arguments: str, timeout_s: float = 300.0) -> dict[str, Any]:
        """Run a command that must succeed and return its JSON."""
        done = self.run(*arguments, "--json", timeout_s=timeout_s)
        assert done.returncode == 0, done.stderr
        answer = json.loads(done.stdout)
        assert isinstance(answer, dict)
        return answer

    def start_servers(self) -> dict[str, Any]:
        """Start Postgres with its replica, and Valkey, and no Ray cluster."""
        return self.ask("up", "--detach", "--no-deploy", "--only=postgres,valkey", *FREE_PORTS)

    def environment(self) -> dict[str, str]:
        """Ours, without settings that lead elsewhere."""
        return {name: value for name, value in os.environ.items() if not name.startswith(("SHORTLIST_", "RAY_"))}

    def processes(self) -> list[str]:
        """What lives of this stack, by pid and command line."""
        marks = (str(self.state.root), str(self.state.alias))
        found = []
        for process in psutil.process_iter():
            try:
                if process.pid == os.getpid() or process.status() == psutil.STATUS_ZOMBIE:
                    continue
                command = " ".join(process.cmdline())
                words = " ".join([command, process.cwd(), *process.environ().values()])
            except psutil.Error:
                continue
            if any(mark in words for mark in marks):
                found.append(f"{process.pid} {command[:120]}")
        return found
