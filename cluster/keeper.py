"""
A process that runs one command and, when that ends for whatever reason, ends everything the command left behind.

It makes itself a child subreaper, so whatever the command started and orphaned becomes its child and cannot escape.
``python -m cluster.keeper LOG COMMAND...`` keeps a Ray cluster; `cluster.guard` keeps the supervisor the same way.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Collection, Sequence
from pathlib import Path

import psutil

from cluster import child
from cluster.niceness import hand_on_niceness

WAKING = {signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP}


def keep(command: Sequence[str], *, log: Path, grace_s: float, keep_open: Sequence[int] = ()) -> int:
    """
    Run *command* until it ends, or until we are asked to stop; then end every descendant. All give way as we do.

    Args:
        command: Program and arguments. It is sent SIGTERM when we are asked to stop, and when we are killed.
        log: Receives its output.
        grace_s: How long it has to stop before it is killed.
        keep_open: File descriptors that it inherits.

    Returns:
        Its exit status as a shell would give it: 128 + signal number when a signal ended it.
    """
    child.become_subreaper()
    signal.pthread_sigmask(signal.SIG_BLOCK, WAKING)
    process = child.spawn(command, log=log, death_signal=signal.SIGTERM, keep_open=keep_open)
    status: int | None = None
    kill_at: float | None = None
    while status is None:
        woken = signal.sigtimedwait(WAKING, 1.0)
        hand_on_niceness()
        status = _reap(process.pid)
        if woken is not None and woken.si_signo != signal.SIGCHLD and kill_at is None and status is None:
            os.kill(process.pid, signal.SIGTERM)
            kill_at = time.monotonic() + grace_s
        if kill_at is not None and time.monotonic() > kill_at and status is None:
            os.kill(process.pid, signal.SIGKILL)
    end_descendants()
    return status


def end_descendants(grace_s: float = 2.0, *, spare: Collection[int] = ()) -> None:
    """
    Ask every descendant of this process to stop, and kill those that have not after *grace_s* seconds.

    Args:
        grace_s: Seconds between the two.
        spare: Children that are left alone, with everything below them.
    """
    kill_at = time.monotonic() + grace_s
    asked: set[int] = set()
    while left := _living(spare):
        for each in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                if time.monotonic() > kill_at:
                    each.kill()
                elif each.pid not in asked:
                    asked.add(each.pid)
                    each.terminate()
        time.sleep(0.05)


def _living(spare: Collection[int]) -> list[psutil.Process]:
    """Return our living descendants, and collect children that have ended; those under *spare* are passed over."""
    living = []
    for each in psutil.Process().children():
        if each.pid in spare:
            continue
        with contextlib.suppress(psutil.NoSuchProcess, ChildProcessError):
            if each.status() == psutil.STATUS_ZOMBIE:
                os.waitpid(each.pid, os.WNOHANG)
            else:
                living += [each, *each.children(recursive=True)]
    return living


def _reap(wanted: int | None) -> int | None:
    """Collect every child that has ended; return the exit status of *wanted* if it is among them."""
    found = None
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                break
            if pid == wanted:
                code = os.waitstatus_to_exitcode(status)
                found = code if code >= 0 else 128 - code
    return found


if __name__ == "__main__":
    sys.exit(keep(sys.argv[2:], log=Path(sys.argv[1]), grace_s=4.0))
