"""The stack of one state directory, seen from a command: start it, look at it, stop it."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import psutil

from cluster import child, guard
from cluster.errors import ClusterError, NotRunning, PromotionRefused, ServerFailed
from cluster.local_postgres import PRIMARY, REPLICA
from cluster.promotion_record import PromotionRecord, PromotionRequest
from cluster.ray_api import RayApi
from cluster.record import StackRecord
from cluster.stack_options import StackOptions
from cluster.state_directory import StateDirectory, project_root

START_TIMEOUT_S = 240.0
STOP_TIMEOUT_S = 90.0
# Beyond the waits that were asked for: stopping, promoting, and copying the primary anew at worst.
PROMOTION_TIMEOUT_S = 900.0


@dataclass(frozen=True)
class LocalStack:
    """What runs in *state*, if anything does."""

    state: StateDirectory

    def record(self) -> StackRecord | None:
        """Return the record of the stack that runs now, or None when none does."""
        return StackRecord.read(self.state.record) if self.state.in_use() else None

    def running(self) -> StackRecord:
        """
        Return the record of the stack that runs now.

        Raises:
            NotRunning: none does.
        """
        record = self.record()
        if record is None or record.condition != "ready":
            raise NotRunning(f"No stack runs in {self.state.root}. Start it with: shortlist up")
        return record

    def serving(self) -> RayApi:
        """Return the serving cluster's dashboard."""
        return self._api(self.running().dashboard_url, "ray-serving")

    def training(self) -> RayApi:
        """Return the training cluster's dashboard."""
        return self._api(self.running().training_dashboard_url, "ray-training")

    def start(
        self, options: StackOptions, *, detached: bool, follow: Callable[[StackRecord], None]
    ) -> subprocess.Popen[bytes]:
        """
        Start a stack and return its guard once every part works.

        Args:
            options: What to start.
            detached: Whether the stack outlives the calling process; otherwise it stops when that ends, killed or not.
            follow: Called with the record while it changes, to show progress.

        Raises:
            ClusterError: a part did not start; nothing is left running.
        """
        self.state.prepare()
        log = self.state.logs / "supervisor.log"
        process = child.spawn(
            [sys.executable, "-m", "cluster.guard", options.model_dump_json()],
            log=log,
            death_signal=None if detached else signal.SIGTERM,
            environment=None,
            directory=project_root(),
        )
        try:
            self._wait_ready(process, follow)
        except BaseException:
            child.stop(process, signal.SIGTERM, timeout_s=STOP_TIMEOUT_S)
            raise
        return process

    def stop(self) -> bool:
        """
        Stop the stack and return once no process of it is left; return whether there was one.

        Raises:
            ClusterError: something would not stop; the message names it.
        """
        record = StackRecord.read(self.state.record)
        processes = [] if record is None else [record.guard, record.supervisor]
        parts = [] if record is None else [part.process for part in record.parts.values()]
        found = self.state.in_use()
        for identity in processes:
            process = identity.process()
            if process is not None:
                found = True
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.terminate()
                break
        watched = [*processes, *parts]
        if not child.wait_until(
            lambda: not self.state.in_use() and not any(identity.process() for identity in processes),
            timeout_s=STOP_TIMEOUT_S,
        ):
            raise ClusterError(f"The stack in {self.state.root} did not stop within {STOP_TIMEOUT_S:.0f} s")
        # Left only when guard and supervisor were both killed at the same moment.
        for identity in parts:
            process = identity.process()
            if process is not None:
                found = True
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.terminate()
        if not child.wait_until(lambda: not any(identity.process() for identity in watched), timeout_s=STOP_TIMEOUT_S):
            left = [str(identity.pid) for identity in watched if identity.process()]
            raise ClusterError(f"These processes did not stop: {', '.join(left)}")
        self.state.unlink()
        return found

    def promote(self, *, wait_s: float, follow: Callable[[PromotionRecord], None]) -> PromotionRecord:
        """
        Have the supervisor promote the read replica and return what came of it.

        Args:
            wait_s: Most seconds for each server to answer, and for the replica of a living primary to catch up.
            follow: Called with the record while it changes, to show progress.

        Raises:
            NotRunning: no stack runs, or it ended meanwhile; its next start finishes what was begun.
            PromotionRefused: the replica cannot be promoted; nothing was changed.
            ClusterError: it failed on the way.
        """
        record = self.running()
        parts = record.parts
        if REPLICA not in parts or PRIMARY not in parts:
            raise PromotionRefused(f"The stack in {self.state.root} has no read replica")
        request = PromotionRequest(wait_s=wait_s, demote=parts[PRIMARY].port)
        request.place(self.state.promotion)
        try:
            return self._promoted(request, follow)
        finally:
            request.withdraw(self.state.promotion)

    def _promoted(self, request: PromotionRequest, follow: Callable[[PromotionRecord], None]) -> PromotionRecord:
        found: PromotionRecord | None = None

        def ended() -> bool:
            nonlocal found
            answer = self.running().promotion
            if answer is None or answer.id != request.id:
                return False
            follow(answer)
            found = answer
            return answer.condition != "running"

        if not child.wait_until(ended, timeout_s=3 * request.wait_s + PROMOTION_TIMEOUT_S) or found is None:
            raise ClusterError(f"The promotion did not end in time. See {self.state.logs / 'supervisor.log'}")
        if found.condition == "refused":
            raise PromotionRefused(found.error)
        if found.condition == "failed":
            raise ClusterError(f"{found.error}. See {self.state.logs / 'supervisor.log'} and: shortlist status")
        return found

    def _wait_ready(self, process: subprocess.Popen[bytes], follow: Callable[[StackRecord], None]) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            record = self._fresh_record(process.pid)
            if record is not None:
                follow(record)
                if record.condition == "ready":
                    return
            if process.poll() is not None:
                raise self._failure(process.returncode, process.pid)
            time.sleep(0.1)
        raise ServerFailed(
            f"The stack did not start within {START_TIMEOUT_S:.0f} s. See {self.state.logs / 'supervisor.log'}"
        )

    def _fresh_record(self, guard_pid: int) -> StackRecord | None:
        """Return the record if it was written under the guard *guard_pid*, not by a stack before it."""
        with contextlib.suppress(ClusterError):
            record = StackRecord.read(self.state.record)
            if record is not None and record.guard.pid == guard_pid and record.guard.process() is not None:
                return record
        return None

    def _failure(self, status: int, guard_pid: int) -> ClusterError:
        if status == guard.ALREADY_RUNNING:
            return ClusterError(f"Another command is starting or stopping a stack in {self.state.root}. Try again.")
        with contextlib.suppress(ClusterError):
            record = StackRecord.read(self.state.record)
            if record is not None and record.guard.pid == guard_pid and record.error:
                return ServerFailed(record.error)
        log = self.state.logs / "supervisor.log"
        return ServerFailed(f"The stack did not start. The end of {log}:\n{child.tail(log)}")

    def _api(self, address: str | None, name: str) -> RayApi:
        if address is None:
            raise NotRunning(f"The stack in {self.state.root} runs without {name}")
        return RayApi(address, self.state.token.read_text().strip())
