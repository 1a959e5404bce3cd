from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator

import psutil
import pytest

from bench.chaos.processes import family, frozen, kill, slowed
from cluster.child import wait_until


@pytest.fixture
def parent() -> Iterator[psutil.Process]:
    """A process with a child."""
    started = subprocess.Popen(["/bin/sh", "-c", "sleep 600 & wait"])
    try:
        assert wait_until(lambda: len(family(started.pid)) == 2, timeout_s=10)
        yield psutil.Process(started.pid)
    finally:
        kill([started.pid])
        started.wait()


def are_stopped(pids: list[int]) -> list[bool]:
    return [psutil.Process(pid).status() == psutil.STATUS_STOPPED for pid in pids]


class TestFrozen:
    def test_a_family_stands_still_and_goes_on_whatever_happened(self, parent: psutil.Process) -> None:
        members = family(parent.pid)
        with contextlib.suppress(InterruptedError), frozen([parent.pid]):
            assert wait_until(lambda: all(are_stopped(members)), timeout_s=10)
            raise InterruptedError
        assert wait_until(lambda: not any(are_stopped(members)), timeout_s=10)

    def test_alone_its_children_go_on(self, parent: psutil.Process) -> None:
        members = family(parent.pid)
        with frozen([parent.pid], alone=True):
            assert wait_until(lambda: are_stopped(members) == [True, False], timeout_s=10)


class TestSlowed:
    def test_it_stops_and_runs_in_turn_and_runs_at_the_end(self, parent: psutil.Process) -> None:
        members = family(parent.pid)
        with slowed([parent.pid], stopped_s=0.1, runs_s=0.1):
            assert wait_until(lambda: all(are_stopped(members)), timeout_s=10)
            assert wait_until(lambda: not any(are_stopped(members)), timeout_s=10)
            assert wait_until(lambda: all(are_stopped(members)), timeout_s=10)
        assert wait_until(lambda: not any(are_stopped(members)), timeout_s=10)


class TestKill:
    def test_the_whole_family_ends(self, parent: psutil.Process) -> None:
        child = parent.children()[0]
        kill([parent.pid])
        assert wait_until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE, timeout_s=10)
