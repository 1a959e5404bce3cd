"""Training anew what serving has lost: no version of it can be used, and none stands in."""

from __future__ import annotations

import logging
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

from cluster import child
from cluster.rebuild_record import Kind, RebuildRecord
from cluster.serving_artifacts import ServingArtifacts
from cluster.state_directory import StateDirectory, project_root

log = logging.getLogger("supervisor")

BUDGET_S = 1800.0
PAUSE_S = 1800.0
# Seen once, it may be a replica that is just looking for its first version.
SIGHTINGS = 2
SIGHTINGS_WITHIN_S = 120.0
STOP_S = 15.0
KEPT_RECORDS = 20


@dataclass(frozen=True)
class _Pause:
    """No further try before *until* while ``ACTIVE`` holds *active*."""

    until: float
    active: str | None


class Rebuilds:
    """
    Runs one training job at a time, as ``shortlist train`` does, for a kind that was in use once and is lost.

    A kind of which a version stands in is not lost. After a try, whatever came of it, the kind rests for 30 minutes
    unless serving could use it in between or ``ACTIVE`` changed; a try that takes longer than 30 minutes is ended.

    Args:
        state: Where the artifacts and logs are.
        look: Returns what serving can use now.
        busy: Whether a job of that kind runs already, or none can run; may take a few seconds.
        command: Returns the command that trains a kind.
        clock: Seconds on a clock that never goes back.
    """

    def __init__(
        self,
        state: StateDirectory,
        *,
        look: Callable[[], ServingArtifacts],
        busy: Callable[[Kind], bool],
        command: Callable[[Kind], list[str]] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.records: list[RebuildRecord] = []
        self.process: subprocess.Popen[bytes] | None = None
        self.log = state.logs / "rebuild.log"
        self._state = state
        self._look = look
        self._busy = busy
        self._command = command or self._train_command
        self._clock = clock
        self._began = 0.0
        self._used: set[Kind] = set()
        self._sightings: dict[Kind, list[float]] = {}
        self._pauses: dict[Kind, _Pause] = {}

    def tend(self) -> bool:
        """Look, and act on what is seen; return whether `records` changed."""
        if self.process is not None:
            return self._follow(self.process)
        seen = self._look()
        self._used |= seen.usable
        for kind in seen.usable:
            self._sightings.pop(kind, None)
            self._pauses.pop(kind, None)
        for kind, cause in seen.unusable.items():
            if self._is_due(kind) and not self._busy(kind):
                self._begin(kind, cause)
                return True
        return False

    def stop(self) -> None:
        """End a try that is under way."""
        if self.process is not None:
            child.stop(self.process, signal.SIGTERM, timeout_s=STOP_S)
            self._conclude("it was stopped with the stack")

    def _is_due(self, kind: Kind) -> bool:
        now, active = self._clock(), self._active(kind)
        recent = [moment for moment in self._sightings.get(kind, ()) if now - moment < SIGHTINGS_WITHIN_S]
        self._sightings[kind] = [*recent, now]
        pause = self._pauses.get(kind)
        rests = pause is not None and pause.active == active and now < pause.until
        return len(self._sightings[kind]) >= SIGHTINGS and not rests and self._was_in_use(kind)

    def _begin(self, kind: Kind, cause: str) -> None:
        self._sightings.pop(kind, None)
        active = self._active(kind)
        # At once: what keeps the process from starting counts as a try too.
        self._pauses[kind] = _Pause(self._clock() + PAUSE_S, active)
        self.process = child.spawn(
            self._command(kind), log=self.log, death_signal=signal.SIGTERM, directory=project_root()
        )
        self._began = self._clock()
        record = RebuildRecord(kind=kind, instead_of=active, cause=cause, began_at=time.time())
        self.records[:] = [*self.records, record][-KEPT_RECORDS:]
        log.error("%s: serving can use no version (%s); training it anew, see %s", kind, cause, self.log)

    def _follow(self, process: subprocess.Popen[bytes]) -> bool:
        status = process.poll()
        if status is None and self._clock() - self._began > BUDGET_S:
            child.stop(process, signal.SIGTERM, timeout_s=STOP_S)
            self._conclude(f"it took longer than {BUDGET_S / 60:.0f} minutes")
        elif status == 0:
            self._conclude(None)
        elif status is not None:
            self._conclude(f"it ended with status {status}: {child.tail(self.log, 3)}")
        return self.process is None

    def _conclude(self, error: str | None) -> None:
        record = self.records[-1]
        record.condition, record.error = ("done", None) if error is None else ("failed", error)
        record.seconds = round(self._clock() - self._began, 1)
        self.process = None
        self._pauses[record.kind] = _Pause(self._clock() + PAUSE_S, self._active(record.kind))
        if error is None:
            log.info("%s: trained anew in %.0f s", record.kind, record.seconds)
        else:
            log.error(
                "%s: training anew failed: %s. Not again within %.0f minutes; yourself: shortlist train %s",
                record.kind,
                error,
                PAUSE_S / 60,
                record.kind,
            )

    def _was_in_use(self, kind: Kind) -> bool:
        """Whether a version ever was: we saw it, or ``ACTIVE`` or a history is there, in whatever state."""
        directory = self._state.artifacts / kind
        return kind in self._used or any((directory / name).exists() for name in ("ACTIVE", "history", "HISTORY"))

    def _active(self, kind: Kind) -> str | None:
        path = self._state.artifacts / kind / "ACTIVE"
        try:
            return path.read_text(encoding="ascii", errors="replace").strip() if path.is_file() else None
        except OSError:
            return None

    def _train_command(self, kind: Kind) -> list[str]:
        program = [sys.executable, "-m", "cluster.cli", "train", kind]
        return [*program, "--json", "--state-dir", str(self._state.root)]
