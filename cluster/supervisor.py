"""
The process that starts the servers and Ray clusters of a local stack, watches them, and stops them.

Started by `cluster.guard` as ``python -m cluster.supervisor OPTIONS``; it writes what it does to the state
directory's ``supervisor.json`` and, in words, to ``logs/supervisor.log``.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn, Protocol

from cluster import child
from cluster.errors import ClusterError, PromotionRefused
from cluster.identity import ProcessIdentity
from cluster.keeper import end_descendants
from cluster.log_files import cut_long_logs
from cluster.postgres_pair import PostgresPair
from cluster.promotion import promote
from cluster.promotion_record import PromotionRecord, PromotionRequest
from cluster.ray_nodes import RayNodes
from cluster.rebuild import Rebuilds
from cluster.record import PartRecord, StackRecord, Step
from cluster.restarts import Restarts
from cluster.serving_artifacts import ServingArtifacts
from cluster.stack_options import StackOptions
from cluster.state_directory import StateDirectory
from cluster.valkey import ValkeyServer

log = logging.getLogger("supervisor")

WATCH_S = 0.5
CHORES_S = 10.0
FULL_BYTES = 32_000_000
FULL_DISK_PAUSE_S = 5.0


class Part(Protocol):
    """A server or a Ray cluster."""

    name: str
    log: Path
    process: subprocess.Popen[bytes] | None

    def start(self) -> None:
        """Start without waiting."""

    def answers(self) -> bool:
        """Return whether it works."""

    def wait_ready(self) -> None:
        """Return once it works."""

    def stop(self) -> None:
        """Stop it."""


class StopAsked(Exception):
    """A signal asked the supervisor to stop."""


class Supervisor:
    """
    Everything that a local stack runs.

    Args:
        options: What was asked for.
        state: Its state directory, prepared.
    """

    def __init__(self, options: StackOptions, state: StateDirectory) -> None:
        self.options = options
        self.state = state
        self.pair = PostgresPair(state, self, synchronous=options.synchronous)
        self.valkey = ValkeyServer.of(state)
        if not state.token.exists():
            state.token.touch(mode=0o600)
            state.token.write_text(secrets.token_hex(32))
        self.rays = RayNodes(options, state, self.pair.servers, self.valkey.url)
        self.rebuilds = Rebuilds(state, look=lambda: ServingArtifacts.asked(self.record.url), busy=self.rays.trains)
        self.running: dict[str, Part] = {}
        self.restarts: dict[str, Restarts] = {}
        self.due: dict[str, float] = {}
        self.next_chores = 0.0
        self.unsaved = False
        host = "127.0.0.1" if options.http_host in {"0.0.0.0", "::"} else options.http_host  # noqa: S104 - compared
        self.record = StackRecord(
            guard=ProcessIdentity.of(os.getppid()),
            supervisor=ProcessIdentity.of(os.getpid()),
            url=f"http://{f'[{host}]' if ':' in host else host}:{options.http_port}",
            http_host=options.http_host,
            http_port=options.http_port,
            database_url=self.pair.servers.database_url,
            replica_urls=[self.pair.servers.replica_url],
            redis_url=self.valkey.url,
            ports={part.name: part.ports for part in self.rays.wanted},
            dashboard_url=f"http://127.0.0.1:{options.dashboard_port}" if "ray-serving" in options.parts else None,
            training_dashboard_url=(
                f"http://127.0.0.1:{options.training_dashboard_port}" if "ray-training" in options.parts else None
            ),
        )

    def begin(self) -> None:
        """
        Start every part that was asked for and return once all of them work.

        Raises:
            ClusterError: one of them does not.
        """
        self.save()
        self.state.promotion.unlink(missing_ok=True)
        for cluster in self.rays.clusters:
            self.start(cluster)
        if "valkey" in self.options.parts:
            self.start(self.valkey)
        if "postgres" in self.options.parts:
            self.pair.begin()
        if "valkey" in self.options.parts:
            self.valkey.wait_ready()
        for cluster in self.rays.clusters:
            with self.step(f"{cluster.name} cluster"):
                cluster.wait_ready()
        for worker in self.rays.workers:
            self.start(worker)
        for worker in self.rays.workers:
            with self.step(f"{worker.name} node"):
                worker.wait_ready()
        self.record.condition = "ready"
        self.save()
        log.info("ready: %s", ", ".join(self.running))

    def watch(self) -> NoReturn:
        """Start again what dies, until a signal raises `StopAsked`."""
        while True:
            # A full disk, above all, must not end what everything else stands on.
            with self._logged("looking after the parts"):
                for part in list(self.running.values()):
                    self._look_after(part)
            with self._logged("a promotion"):
                self._promote_if_asked()
            if time.monotonic() > self.next_chores:
                self.next_chores = time.monotonic() + CHORES_S
                for chore in (self._mend, self.rays.tend, self._rebuild, self._cut_logs):
                    with self._logged("a chore"):
                        chore()
            time.sleep(WATCH_S)

    def end(self) -> None:
        """Stop every part, Ray clusters first, and whatever they left."""
        with contextlib.suppress(OSError):
            self.rebuilds.stop()
        nodes = self.rays.all
        for node in nodes:
            if node.process is not None:
                node.process.send_signal(signal.SIGTERM)
        parts: tuple[Part, ...] = (*nodes, self.valkey, self.pair.replica, self.pair.primary)
        for part in parts:
            with contextlib.suppress(OSError):
                part.stop()
        end_descendants()
        log.info("stopped")

    def start(self, part: Part) -> None:
        """Start *part* and watch it from now on."""
        part.start()
        assert part.process is not None
        self.running[part.name] = part
        self.restarts.setdefault(part.name, Restarts())
        ports = {
            self.pair.primary.name: self.pair.primary.port,
            self.pair.replica.name: self.pair.replica.port,
            "ray-serving": self.options.dashboard_port,
            "ray-training": self.options.training_dashboard_port,
        }
        self.record.parts[part.name] = PartRecord(
            process=ProcessIdentity.of(part.process.pid),
            port=ports.get(part.name),
            restarts=self.restarts[part.name].count,
        )
        self.save()
        log.info("%s: started as process %d", part.name, part.process.pid)

    def end_orphans(self) -> None:
        """End what belonged to a part that is dead; the others are left alone."""
        processes = (*(part.process for part in self.running.values()), self.rebuilds.process)
        end_descendants(spare={process.pid for process in processes if process is not None})

    def swap(self, one: str, other: str) -> None:
        """Exchange the names of two parts in all that is kept by name."""
        kept: tuple[dict[str, Any], ...] = (self.running, self.restarts, self.record.parts)
        for each in kept:
            each[one], each[other] = each[other], each[one]
        for name in (one, other):
            self.due.pop(name, None)
        self.save()

    def save(self) -> None:
        """
        Write the record down.

        Raises:
            OSError: it cannot be written while the stack starts; later on that is logged, and tried again.
        """
        try:
            self.record.write(self.state.record)
            self.unsaved = False
        except OSError as error:
            if self.record.condition == "starting":
                raise
            if not self.unsaved:
                log.error("%s cannot be written (%s); free some space. Trying again", self.state.record, error)  # noqa: TRY400
            self.unsaved = True

    def _disk_is_full(self) -> bool:
        return shutil.disk_usage(self.state.root).free < FULL_BYTES

    def _pause(self, part: Part) -> float | None:
        """Seconds until *part* is started again, None for never; what ends on a full disk is not at fault."""
        if self._disk_is_full():
            log.error("%s: the disk of %s is full; free some space", part.name, self.state.root)
            return FULL_DISK_PAUSE_S
        return self.restarts[part.name].next_pause()

    def _look_after(self, part: Part) -> None:
        """Start *part* again if it is dead and its pause is over."""
        now = time.monotonic()
        if part.process is not None:
            status = part.process.poll()
            if status is None:
                return
            part.process = None
            # A keeper that was killed leaves its cluster to us, with every port still taken.
            self.end_orphans()
            pause = self._pause(part)
            if pause is None:
                self.due.pop(part.name, None)
                log.error(
                    "%s: ended with status %d too often; it stays down. See %s, then: shortlist down; shortlist up",
                    part.name,
                    status,
                    part.log,
                )
                return
            self.due[part.name] = now + pause
            log.error("%s: ended with status %d; starting it again in %.1f s", part.name, status, pause)
        if self.due.get(part.name, float("inf")) <= now:
            del self.due[part.name]
            try:
                self.start(part)
            except (ClusterError, OSError):
                log.exception("%s: did not start; trying again", part.name)
                pause = self._pause(part)
                if pause is not None:
                    self.due[part.name] = now + pause
                return
            self.rays.redeploy |= part is self.rays.serving

    def _cut_logs(self) -> None:
        for path in cut_long_logs(self.state.logs):
            log.info("cut %s", path)

    def _mend(self) -> None:
        if "postgres" in self.options.parts:
            self.pair.mend()

    def _rebuild(self) -> None:
        wanted = {"ray-serving", "ray-training"} <= set(self.options.parts)
        if (wanted and self.rebuilds.tend()) or self.unsaved:
            self.record.rebuilds = self.rebuilds.records
            self.save()

    @contextlib.contextmanager
    def _logged(self, doing: str) -> Iterator[None]:
        """Log what goes wrong with *doing*, and go on."""
        try:
            yield
        except (ClusterError, OSError):
            log.exception("%s failed", doing)

    def _promote_if_asked(self) -> None:
        request = PromotionRequest.take(self.state.promotion)
        if request is None:
            return
        record = self.record.promotion = PromotionRecord(id=request.id)

        def say(doing: str) -> None:
            log.info("promotion: %s", doing)
            record.doing = doing
            self.save()

        try:
            promote(self.pair, request, record, say)
            record.condition = "done"
        except PromotionRefused as refusal:
            record.condition, record.error = "refused", str(refusal)
        except (ClusterError, OSError) as error:
            log.exception("promotion failed while %s", record.doing)
            record.condition, record.error = "failed", f"It failed while {record.doing}: {error}"
        self.save()

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Show that *name* is under way, and how long it took."""
        step = Step(name=name, started_at=time.time())
        self.record.steps.append(step)
        self.save()
        yield
        step.seconds = time.time() - step.started_at
        self.save()


def listen(handler: Callable[[int, FrameType | None], None]) -> None:
    """Call *handler* for every signal that asks to stop, also when it was ignored where we come from."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, handler)


def main(arguments: Mapping[str, object]) -> int:
    """Run a stack until a signal asks to stop; return the exit status."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    child.become_subreaper()

    def ask(_number: int, _frame: FrameType | None) -> None:
        listen(lambda _number, _frame: None)
        raise StopAsked

    listen(ask)
    options = StackOptions.model_validate(arguments)
    state = StateDirectory(Path(options.state_dir))
    supervisor: Supervisor | None = None
    status = 0
    error: str | None = None
    try:
        supervisor = Supervisor(options, state)
        supervisor.begin()
        supervisor.watch()
    except StopAsked:
        log.info("asked to stop")
    except (ClusterError, OSError) as failure:
        log.exception("failed")
        status, error = 1, str(failure)
    if supervisor is not None:
        supervisor.record.condition = "stopping"
        supervisor.save()
        supervisor.end()
        supervisor.record.condition = "stopped" if status == 0 else "failed"
        supervisor.record.error = error
        supervisor.save()
    state.unlink()
    return status


if __name__ == "__main__":
    sys.exit(main(json.loads(sys.argv[1])))
