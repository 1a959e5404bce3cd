"""The version of a kind that is on trial, kept loaded by a thread that watches for another."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from artifacts.active import Loaded
from artifacts.errors import ArtifactCorrupt, ArtifactError, ArtifactMissing
from artifacts.loading import load_or_refuse
from artifacts.manifest import ArtifactKind, Manifest
from artifacts.store import ArtifactStore
from artifacts.trial_figures import TrialFigures
from artifacts.trials import Mode, Trial

T = TypeVar("T")
REPORT_S = 5.0
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class OnTrial(Generic[T]):
    """A version on trial, in memory."""

    trial: Trial
    loaded: Loaded[T]


class TrialArtifact(Generic[T]):
    """
    Loads the version on trial as the active one is loaded, and keeps it while the trial is in force.

    A version that is corrupt or gone ends its trial at once. Nothing here raises into the caller.

    Args:
        load: Called in the watching thread with the verified local directory and the manifest.
        replica: Who reports to the store; a file name.
        modes: The trials that are taken part in.
        poll_s: Seconds between looks at ``TRIAL``.
        report_s: Seconds between reports of what was seen.

    Attributes:
        ended: How many trials this one has ended because their version failed.
    """

    def __init__(
        self,
        kind: ArtifactKind,
        load: Callable[[Path, Manifest], T],
        store: ArtifactStore,
        *,
        replica: str,
        modes: Collection[Mode] = ("shadow", "canary"),
        poll_s: float = 1.0,
        report_s: float = REPORT_S,
    ) -> None:
        self.kind = kind
        self.ended = 0
        self._load = load
        self._store = store
        self._replica = replica
        self._modes = modes
        self._poll_s = poll_s
        self._report_s = report_s
        self._held: OnTrial[T] | None = None
        self._over: dict[str, str] = {}
        self._unwritten: set[str] = set()
        self._report: Callable[[], tuple[str, TrialFigures] | None] = lambda: None
        self._reported: tuple[str, TrialFigures] | None = None
        self._report_at = 0.0
        self._problem: str | None = None
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def current(self) -> OnTrial[T] | None:
        """The version on trial, once it is loaded."""
        return self._held

    @property
    def alive(self) -> bool:
        """Whether the watching thread has not died; true before the start and after the end."""
        return self._thread is None or self._thread.is_alive()

    def reporting(self, report: Callable[[], tuple[str, TrialFigures] | None]) -> None:
        """Keep in the store, now and then, what *report* returns: a trial's id and what was seen of it."""
        self._report = report

    def start(self) -> None:
        """Begin watching, in the background."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._watch, name=f"trial-{self.kind}", daemon=True)
            self._thread.start()

    def stop(self, timeout_s: float = 10.0) -> None:
        """End watching."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join(timeout=timeout_s)
            self._thread = None

    def fail(self, trial: Trial, reason: str) -> None:
        """Use the version no longer, at once; that the trial has ended is written down within a second."""
        if trial.id in self._over:
            return
        self._over[trial.id] = reason
        self._unwritten.add(trial.id)
        self._held = None
        self.ended += 1
        _log.error("%s: the %s of %s is ended: %s", self.kind, trial.mode, trial.version, reason)

    def _watch(self) -> None:
        while not self._stopped.wait(self._poll_s):
            try:
                self._look()
                self._keep_report()
                self._note(None)
            except ArtifactError as error:
                self._note(str(error))
            except BaseException:  # noqa: BLE001  a watcher that dies would keep a trial in force for ever
                _log.exception("%s: looking for a trial failed", self.kind)

    def _look(self) -> None:
        """Write down what has ended, then compare ``TRIAL`` with what is loaded."""
        trials = self._store.trials(self.kind)
        for trial_id in list(self._unwritten):
            trials.end(trial_id, self._over[trial_id], failed=True)
            self._unwritten.discard(trial_id)
        trial = self._wanted()
        held = self._held
        if trial is None:
            self._held = None
        elif held is None or held.trial.id != trial.id:
            self._take_up(trial, held)

    def _wanted(self) -> Trial | None:
        """The trial in force, unless it is over here or its version is the active one."""
        try:
            trial = self._store.trials(self.kind).current()
        except ArtifactCorrupt:
            self._held = None
            raise
        if trial is None or trial.id in self._over or trial.mode not in self._modes:
            return None
        try:
            return None if self._store.active_version(self.kind) == trial.version else trial
        except ArtifactCorrupt:
            return trial

    def _take_up(self, trial: Trial, held: OnTrial[T] | None) -> None:
        if held is not None and held.loaded.version == trial.version:
            self._held = OnTrial(trial, held.loaded)
            return
        self._held = None
        try:
            directory = self._store.fetch(self.kind, trial.version)
            manifest = self._store.manifest(self.kind, trial.version)
            loaded = Loaded(trial.version, manifest, load_or_refuse(self._load, directory, manifest))
        except (ArtifactCorrupt, ArtifactMissing) as error:
            self.fail(trial, f"it cannot be loaded: {error}")
            return
        self._held = OnTrial(trial, loaded)
        _log.info("%s: %s is loaded for its %s", self.kind, trial.version, trial.mode)

    def _keep_report(self) -> None:
        if time.monotonic() < self._report_at:
            return
        self._report_at = time.monotonic() + self._report_s
        report = self._report()
        if report is None or report == self._reported:
            return
        # They grow while they are being written.
        trial_id, figures = report[0], report[1].model_copy(deep=True)
        self._store.trials(self.kind).report(trial_id, self._replica, figures)
        self._reported = trial_id, figures

    def _note(self, problem: str | None) -> None:
        """Say what keeps trials from being followed, once."""
        if problem is not None and problem != self._problem:
            _log.warning("%s: trials cannot be followed: %s", self.kind, problem)
        self._problem = problem
