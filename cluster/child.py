"""A child process that stops when its parent dies, however the parent dies."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from cluster.account import Account

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36

# Resolved at import: nothing may be loaded between fork and exec.
_libc = ctypes.CDLL(None, use_errno=True)


def become_subreaper() -> None:
    """Make every orphaned descendant of this process a child of it, instead of a child of init."""
    if _libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER) failed")


def die_with_parent(death_signal: signal.Signals, parent: int) -> None:
    """Ask the kernel to send this process *death_signal* when the thread that started it ends."""
    _libc.prctl(PR_SET_PDEATHSIG, int(death_signal), 0, 0, 0)
    if os.getppid() != parent:
        os.kill(os.getpid(), death_signal)


def spawn(
    command: Sequence[str],
    *,
    log: Path,
    death_signal: signal.Signals | None,
    account: Account | None = None,
    environment: Mapping[str, str] | None = None,
    directory: Path | None = None,
    own_session: bool = True,
    niceness: int = 0,
    keep_open: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    """
    Start *command* with its output appended to *log*.

    Args:
        command: Program and arguments.
        log: Receives stdout and stderr; appended to, so that it can be cut while it is written.
        death_signal: Sent to the child when the calling thread ends; None leaves the child alone.
        account: Whom it runs as; None for ourselves.
        environment: The whole environment; None for ours.
        directory: Its working directory; None for ours.
        own_session: Whether a Ctrl-C in our terminal passes it by.
        niceness: Added to ours; positive gives way to others.
        keep_open: File descriptors that it inherits.
    """
    parent = os.getpid()

    def prepare() -> None:
        for ignored in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
            signal.signal(ignored, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        if niceness:
            os.nice(niceness)
        if death_signal is not None:
            die_with_parent(death_signal, parent)

    with log.open("ab") as output:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=None if environment is None else dict(environment),
            cwd=directory,
            start_new_session=own_session,
            pass_fds=keep_open,
            user=None if account is None else account.uid,
            group=None if account is None else account.gid,
            extra_groups=None if account is None else [],
            preexec_fn=prepare,  # noqa: PLW1509 - the launcher's processes start children from their only thread
        )


def wait_until(condition: Callable[[], bool], *, timeout_s: float, poll_s: float = 0.05) -> bool:
    """Return whether *condition* came true within *timeout_s* seconds."""
    deadline = time.monotonic() + timeout_s
    while True:
        if condition():
            return True
        if time.monotonic() > deadline:
            return False
        time.sleep(poll_s)


def stop(process: subprocess.Popen[bytes], first: signal.Signals, *, timeout_s: float) -> int:
    """Send *first*, wait *timeout_s* seconds, then kill; return the exit status."""
    if process.poll() is None:
        process.send_signal(first)
        try:
            return process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            process.kill()
    return process.wait()


def tail(log: Path, lines: int = 20) -> str:
    """Return the last *lines* lines of *log*, or a word that it is empty."""
    try:
        text = log.read_text(errors="replace")
    except OSError:
        return "(no log)"
    return "\n".join(text.splitlines()[-lines:]) or "(the log is empty)"
