"""
The process above the supervisor: it holds the state directory's lock, and sees to it that nothing outlives the stack.

``python -m cluster.guard OPTIONS`` starts the supervisor and waits. When the supervisor ends, killed or not, the guard
ends whatever it left behind. When the guard itself is killed, the supervisor is told by the kernel and stops the same
way. The lock is shared by both, so a state directory is free again only when neither is left.
"""

from __future__ import annotations

import fcntl
import json
import os
import sys
from pathlib import Path

from cluster import child, keeper
from cluster.state_directory import StateDirectory

ALREADY_RUNNING = 75
# Longer than the parts' own grace periods together.
GRACE_S = 60.0
# Who only looks holds the lock for an instant.
LOCK_TIMEOUT_S = 5.0


def _taken(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def main(arguments: str) -> int:
    """Run a supervisor under the lock; return its exit status, or `ALREADY_RUNNING`."""
    state = StateDirectory(Path(json.loads(arguments)["state_dir"]))
    lock = os.open(state.lock, os.O_RDWR | os.O_CREAT, 0o600)
    if not child.wait_until(lambda: _taken(lock), timeout_s=LOCK_TIMEOUT_S):
        return ALREADY_RUNNING
    # Only now: a stack that was just ending may have removed what the command prepared.
    state.prepare()
    status = keeper.keep(
        [sys.executable, "-m", "cluster.supervisor", arguments],
        log=state.logs / "supervisor.log",
        grace_s=GRACE_S,
        keep_open=[lock],
    )
    state.unlink()
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
