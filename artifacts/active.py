"""The active version of a kind, kept loaded by a thread that watches for another."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Literal, TypeVar

from artifacts.errors import ArtifactCorrupt, ArtifactError, ArtifactMissing
from artifacts.loading import load_or_refuse
from artifacts.manifest import ArtifactKind, Manifest
from artifacts.store import ArtifactStore

T = TypeVar("T")
Cause = Literal["artifact_missing", "artifact_corrupt"]
_RETRY_REFUSED_S = 30.0
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Loaded(Generic[T]):
    """A version in memory."""

    version: str
    manifest: Manifest
    value: T


@dataclass(frozen=True)
class Refused:
    """What could not be taken: the version that ``ACTIVE`` names, or ``ACTIVE`` itself."""

    version: str
    cause: Cause
    message: str


@dataclass(frozen=True)
class _Pair(Generic[T]):
    """What is loaded: swapped by one assignment, so that a reader never sees half a swap."""

    current: Loaded[T] | None = None
    previous: Loaded[T] | None = None


class ActiveArtifact(Generic[T]):
    """
    Loads the active version of *kind* beside the one in use, swaps, and keeps the one before.

    A version that cannot be loaded is refused and tried again every 30 s; the one in use stays. Where nothing is
    loaded yet, the last sound version that was in use steps in; so it does where ``ACTIVE`` is damaged or gone.
    Nothing here raises into the caller, and a store that never answers holds up the watching thread alone.

    Args:
        load: Called in the watching thread with the verified local directory and the manifest.
        poll_s: Seconds between looks at ``ACTIVE``.
        on_swap: Called in the watching thread after each swap.
    """

    def __init__(
        self,
        kind: ArtifactKind,
        load: Callable[[Path, Manifest], T],
        store: ArtifactStore,
        *,
        poll_s: float = 1.0,
        on_swap: Callable[[Loaded[T]], None] | None = None,
    ) -> None:
        self.kind = kind
        self.cause: Cause | None = "artifact_missing"
        self.refused: Refused | None = None
        self._load = load
        self._store = store
        self._poll_s = poll_s
        self._on_swap = on_swap
        self._pair: _Pair[T] = _Pair()
        self._refused_until = 0.0
        self._stopped = threading.Event()
        self._looked = threading.Event()
        self._thread: threading.Thread | None = None
        self._looking_since: float | None = None
        self._active_gone = False
        self._ever_active = False
        self._history_until = 0.0

    @property
    def looked(self) -> bool:
        """Whether the first look is over, whatever came of it."""
        return self._looked.is_set()

    @property
    def looking_s(self) -> float:
        """Seconds that the look under way has taken, 0 between looks; many when the store does not answer."""
        since = self._looking_since
        return 0.0 if since is None else time.monotonic() - since

    @property
    def current(self) -> Loaded[T] | None:
        """The version in use, or None: then `cause` says why."""
        return self._pair.current

    @property
    def previous(self) -> Loaded[T] | None:
        """The version that was in use before the last swap."""
        return self._pair.previous

    def of_version(self, version: str) -> Loaded[T] | None:
        """That version, if it is the current or the previous one."""
        pair = self._pair
        return next((one for one in (pair.current, pair.previous) if one and one.version == version), None)

    def start(self) -> None:
        """Begin watching; the first look happens at once, in the thread."""
        if self._thread is None:
            self._stopped.clear()
            self._thread = threading.Thread(target=self._watch, name=f"active-{self.kind}", daemon=True)
            self._thread.start()

    def stop(self, timeout_s: float = 10.0) -> None:
        """End watching, or leave the thread to itself if its look takes longer; what is loaded stays loaded."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join(timeout=timeout_s)
            self._thread = None

    @property
    def alive(self) -> bool:
        """Whether the watching thread has not died; true before the start and after the end."""
        return self._thread is None or self._thread.is_alive()

    def wait(self, timeout_s: float) -> bool:
        """Wait until the first look is over, at most *timeout_s*; return whether a version is loaded."""
        self._looked.wait(timeout_s)
        return self.current is not None

    def _watch(self) -> None:
        while True:
            self._looking_since = time.monotonic()
            try:
                self._look()
            except BaseException:  # noqa: BLE001  a watcher that dies would freeze its version without a word
                _log.exception("%s: looking for the active version failed", self.kind)
            self._looking_since = None
            self._looked.set()
            if self._stopped.wait(self._poll_s):
                return

    def _look(self) -> None:
        """Compare ``ACTIVE`` with what is loaded, and act on a difference."""
        try:
            wanted = self._store.active_version(self.kind)
            if wanted is None:
                self._miss()
                return
        except ArtifactError as error:
            self._refuse("ACTIVE", error)
            return
        self._active_gone = False
        pair = self._pair
        if pair.current is not None and pair.current.version == wanted:
            self.refused = None
        elif pair.previous is not None and pair.previous.version == wanted:
            self._swap(pair.previous)
        elif not (self.refused and self.refused.version == wanted and time.monotonic() < self._refused_until):
            try:
                self._swap(self._load_version(wanted))
            except ArtifactError as error:
                self._refuse(wanted, error)

    def _miss(self) -> None:
        """Refuse that ``ACTIVE`` is gone where it once was; a first activation is seen in two steps."""
        if self.current is None and not self._was_ever_active():
            return
        if self._active_gone or not self.looked:
            gone = f"{self._store.root}/{self.kind}/ACTIVE is gone. Activate a version."
            self._refuse("ACTIVE", ArtifactMissing(gone))
        self._active_gone = True

    def _was_ever_active(self) -> bool:
        """Whether any version was; asked once in 30 s."""
        now = time.monotonic()
        if now >= self._history_until:
            self._history_until = now + _RETRY_REFUSED_S
            self._ever_active = bool(self._store.once_active(self.kind))
        return self._ever_active

    def _load_version(self, version: str) -> Loaded[T]:
        directory = self._store.fetch(self.kind, version)
        manifest = self._store.manifest(self.kind, version)
        return Loaded(version, manifest, load_or_refuse(self._load, directory, manifest))

    def _swap(self, loaded: Loaded[T]) -> None:
        before = self._pair.current
        self._pair = _Pair(current=loaded, previous=before)
        self.cause = None
        self.refused = None
        _log.info("%s: %s is in use, before it %s", self.kind, loaded.version, before.version if before else "nothing")
        if self._on_swap is not None:
            try:
                self._on_swap(loaded)
            except Exception:  # noqa: BLE001  the caller's mistake must not end the watching
                _log.exception("%s: the swap to %s was not taken note of", self.kind, loaded.version)

    def _refuse(self, version: str, error: ArtifactError) -> None:
        """Keep what is loaded; where nothing is, take the last sound version that was in use."""
        cause: Cause = "artifact_corrupt" if isinstance(error, ArtifactCorrupt) else "artifact_missing"
        if self.refused is None or self.refused.version != version:
            _log.error("%s: %s is refused (%s): %s", self.kind, version, cause, error)
        now = time.monotonic()
        if self.current is None:
            self.cause = cause
            if now >= self._refused_until:
                self._take_last_sound(but=version)
        if now >= self._refused_until:
            self._refused_until = now + _RETRY_REFUSED_S
        self.refused = Refused(version, cause, str(error))

    def _take_last_sound(self, *, but: str) -> None:
        """Take the version in use last that still loads; one that was never activated passed no gate."""
        try:
            versions = self._store.once_active(self.kind)
        except ArtifactError:
            return
        for version in versions:
            if version == but:
                continue
            try:
                self._swap(self._load_version(version))
            except ArtifactError as error:
                _log.warning("%s: %s cannot step in: %s", self.kind, version, error)
                continue
            return
