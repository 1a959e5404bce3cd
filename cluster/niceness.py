"""Giving way to others also where Linux shares the processor between sessions before it looks at niceness."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import psutil

# autogroup: sched(7), "The autogroup feature".
_ENABLED = Path("/proc/sys/kernel/sched_autogroup_enabled")


def hand_on_niceness() -> None:
    """
    Give every session among our descendants our own niceness towards other sessions.

    With autogroups a process's niceness counts only within its session, and a new session begins as if it had none.
    """
    niceness = os.getpriority(os.PRIO_PROCESS, 0)
    if niceness <= 0 or not _sessions_are_groups():
        return
    for process in psutil.Process().children(recursive=True):
        group = Path(f"/proc/{process.pid}/autogroup")
        # It ended, or the kernel wants us to ask less often: the next call finds it still undone.
        with contextlib.suppress(OSError):
            if not group.read_text().strip().endswith(f" nice {niceness}"):
                group.write_text(str(niceness))


def _sessions_are_groups() -> bool:
    with contextlib.suppress(OSError):
        return _ENABLED.read_text().strip() == "1"
    return False
