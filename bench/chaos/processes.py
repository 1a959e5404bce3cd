"""What is done to processes: ended without a word, frozen, thawed, slowed down."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path


def family(pid: int) -> list[int]:
    """*pid* and all its descendants, parents first."""
    found = [pid]
    for each in found:
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{each}/task").iterdir():
                found += [int(child) for child in (task / "children").read_text().split()]
    return found


def send(number: signal.Signals, pids: Iterable[int]) -> None:
    """Send a signal to each of *pids* that still lives."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def kill(pids: Iterable[int]) -> None:
    """``kill -9`` each of *pids* with its descendants."""
    for pid in pids:
        send(signal.SIGKILL, family(pid))


@contextlib.contextmanager
def frozen(pids: Iterable[int], *, alone: bool = False) -> Iterator[None]:
    """``kill -STOP`` each of *pids* with its descendants, or *alone*, while the block runs, however it ends."""
    stopped: list[int] = []
    try:
        for pid in pids:
            members = [pid] if alone else family(pid)
            stopped += members
            send(signal.SIGSTOP, members)
        yield
    finally:
        send(signal.SIGCONT, stopped)


@contextlib.contextmanager
def slowed(pids: Iterable[int], *, stopped_s: float, runs_s: float) -> Iterator[None]:
    """
    Let *pids* and their descendants run for *runs_s* only between stops of *stopped_s*, as on a disk that stalls.

    Every statement takes up to *stopped_s* longer, on connections that were open before too.
    """
    enough = threading.Event()
    roots = list(pids)

    def pulse() -> None:
        while not enough.is_set():
            with frozen(roots):
                enough.wait(stopped_s)
            enough.wait(runs_s)

    thread = threading.Thread(target=pulse, name="slowed")
    thread.start()
    try:
        yield
    finally:
        enough.set()
        thread.join()
