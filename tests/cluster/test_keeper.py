from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from cluster.child import wait_until

# Starts a grandchild that ignores SIGTERM and detaches itself, tells its pid, and ends or stays.
DAEMONISE = """
import os, signal, sys, time
if os.fork() == 0:
    os.setsid()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    open(sys.argv[1], "w").write(str(os.getpid()))
    time.sleep(600)
while not os.path.exists(sys.argv[1]) or not open(sys.argv[1]).read():
    time.sleep(0.01)
if sys.argv[2] == "stays":
    time.sleep(600)
sys.exit(7)
"""


AUTOGROUPS = Path("/proc/sys/kernel/sched_autogroup_enabled")
SESSIONS_ARE_GROUPS = AUTOGROUPS.is_file() and AUTOGROUPS.read_text().strip() == "1"


def keep(directory: Path, way: str, *, niceness: int = 0) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", DAEMONISE, str(directory / "pid"), way]
    nice = ["nice", "-n", str(niceness)]
    return subprocess.Popen([*nice, sys.executable, "-m", "cluster.keeper", str(directory / "log"), *command])


class TestKeep:
    def test_it_ends_what_the_command_left_and_gives_its_exit_status(self, tmp_path: Path) -> None:
        with keep(tmp_path, "ends") as keeper:
            assert keeper.wait(60) == 7
        assert not psutil.pid_exists(int((tmp_path / "pid").read_text()))

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    def test_asked_to_stop_it_ends_the_command_too(self, tmp_path: Path, number: signal.Signals) -> None:
        with keep(tmp_path, "stays") as keeper:
            pid = tmp_path / "pid"
            assert wait_until(lambda: pid.exists() and pid.read_text() != "", timeout_s=60)
            keeper.send_signal(number)
            assert keeper.wait(60) == 128 + signal.SIGTERM
        assert not psutil.pid_exists(int(pid.read_text()))

    def test_what_it_started_gives_way_to_other_sessions_as_it_does(self, tmp_path: Path) -> None:
        """A new session begins as if it had no niceness."""
        if not SESSIONS_ARE_GROUPS:
            pytest.skip("this kernel shares the processor between processes, not sessions: niceness alone does")
        with keep(tmp_path, "stays", niceness=5) as keeper:
            pid = tmp_path / "pid"
            assert wait_until(lambda: pid.exists() and pid.read_text() != "", timeout_s=60)
            group = Path(f"/proc/{pid.read_text()}/autogroup")
            assert wait_until(lambda: group.read_text().strip().endswith("nice 5"), timeout_s=60)
            keeper.send_signal(signal.SIGTERM)
            assert keeper.wait(60) == 128 + signal.SIGTERM
