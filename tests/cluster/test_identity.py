from __future__ import annotations

import os
import subprocess
import sys

import psutil
import pytest

from cluster.identity import ProcessIdentity


class TestProcessIdentity:
    def test_a_living_process_is_found(self) -> None:
        process = ProcessIdentity.of(os.getpid()).process()
        assert process is not None
        assert process.pid == os.getpid()

    def test_the_same_number_with_another_birth_is_another_process(self) -> None:
        mine = ProcessIdentity.of(os.getpid())
        assert ProcessIdentity(pid=mine.pid, created_at=mine.created_at - 60).process() is None

    def test_what_has_ended_is_gone_and_has_no_memory(self) -> None:
        with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
            identity = ProcessIdentity.of(child.pid)
            child.communicate(b"\n")
        assert identity.process() is None
        assert identity.memory_bytes(descendants=True) == 0

    def test_what_ends_while_it_is_asked_for_its_descendants_is_no_error(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def ended(_process: psutil.Process, **_options: bool) -> list[psutil.Process]:
            raise psutil.NoSuchProcess(0)

        monkeypatch.setattr(psutil.Process, "children", ended)
        assert ProcessIdentity.of(os.getpid()).memory_bytes(descendants=True) > 0
