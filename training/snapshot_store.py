"""
Snapshots: ``<root>/snapshots/<version>/``, each with its manifest, published like an artifact and never changed.

There is no pointer to one in use: the newest is what jobs read unless they are told otherwise.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from artifacts.checksums import first_difference
from artifacts.errors import ArtifactCorrupt, ArtifactError, ArtifactMissing
from artifacts.manifest import MANIFEST_NAME, is_version
from artifacts.places import tree_at
from artifacts.retention import KEPT_HOURS
from artifacts.store import CACHE_VARIABLE
from artifacts.tree import ABANDONED_AFTER_S, STAGING_PREFIX
from training.snapshot_manifest import SnapshotManifest

DIRECTORY = "snapshots"
_SECOND = len("20261122T150405Z")
_ADVICE = "Take another snapshot, or name an older one."


class SnapshotStore:
    """The snapshots below one artifact root: a local directory, or a URI that ``pyarrow.fs`` understands."""

    def __init__(self, root: str, *, cache: str | None = None) -> None:
        self.root = root
        self._tree = tree_at(root, cache or os.environ.get(CACHE_VARIABLE) or None)

    def versions(self) -> list[str]:
        """The whole snapshots, oldest first."""
        names = [name for name in self._tree.directories(DIRECTORY) if is_version(name)]
        return [name for name in names if self._content(name) is not None]

    def latest(self) -> SnapshotManifest | None:
        """The manifest of the newest snapshot whose manifest can be read; None where there is none."""
        found: list[SnapshotManifest] = []
        for version in reversed(self.versions()):
            # Names sort by the second.
            if found and version[:_SECOND] != found[0].version[:_SECOND]:
                break
            with suppress(ArtifactCorrupt):
                found.append(self.manifest(version))
        return max(found, key=lambda manifest: manifest.created_at, default=None)

    def manifest(self, version: str) -> SnapshotManifest:
        """
        Return the manifest of a snapshot.

        Raises:
            ArtifactMissing: there is no such snapshot.
            ArtifactCorrupt: its manifest cannot be read, or belongs to another one.
        """
        where = f"{self.root}/{DIRECTORY}/{version}"
        content = self._content(version) if is_version(version) else None
        if content is None:
            raise ArtifactMissing(f"There is no {where}. There are: {', '.join(self.versions()) or 'none'}.")
        try:
            manifest = SnapshotManifest.read(content)
        except ValueError as error:
            raise ArtifactCorrupt(f"{where}/{MANIFEST_NAME} cannot be read ({error}). {_ADVICE}") from error
        if manifest.version != version:
            raise ArtifactCorrupt(f"{where} holds {manifest.version}. {_ADVICE}")
        return manifest

    def publish(self, directory: Path, manifest: SnapshotManifest) -> None:
        """
        Make the files of *manifest* below *directory* a snapshot; readers see all of it or none.

        Raises:
            ArtifactConflict: the version exists.
            ArtifactStoreUnavailable: nothing was published.
        """
        content = manifest.model_dump_json(indent=2).encode() + b"\n"
        self._tree.put_directory(directory, sorted(manifest.files), f"{DIRECTORY}/{manifest.version}", content)

    def fetch(self, manifest: SnapshotManifest) -> Path:
        """
        Return a local directory whose every file matches its sha256.

        Raises:
            ArtifactCorrupt: a file is absent or differs from the manifest.
        """
        name = f"{DIRECTORY}/{manifest.version}"
        directory = self._tree.local_directory(name)
        difference = first_difference(directory, manifest)
        if difference is not None and self._tree.download(name, sorted(manifest.files)):
            difference = first_difference(directory, manifest)
        if difference is not None:
            raise ArtifactCorrupt(f"{self.root}/{name}: {difference}. {_ADVICE}")
        return directory

    def is_sound(self, manifest: SnapshotManifest) -> bool:
        """Whether every file lies there, in the size that the manifest says."""
        sizes = {file.name: file.bytes for file in self._tree.files(f"{DIRECTORY}/{manifest.version}")}
        return all(sizes.get(name) == record.bytes for name, record in manifest.files.items())

    def read(self, manifest: SnapshotManifest, name: str) -> bytes | None:
        """One small file of a snapshot, or None where it is gone or differs from the manifest."""
        content = self._tree.read(f"{DIRECTORY}/{manifest.version}/{name}") or b""
        record = manifest.files.get(name)
        return content if record and hashlib.sha256(content).hexdigest() == record.sha256 else None

    def prune(self, keep: int, *, now: datetime | None = None) -> list[str]:
        """
        Remove old snapshots, and what killed writers left a day ago; return the snapshots that went.

        The newest *keep* stay, and whatever is younger than `KEPT_HOURS`: a job may be reading it.
        """
        moment = now or datetime.now(UTC)
        removed = []
        for version in self.versions()[:-keep]:
            if moment - self._published_at(version) <= timedelta(hours=KEPT_HOURS):
                continue
            if withdrawn := self._tree.withdraw(f"{DIRECTORY}/{version}"):
                withdrawn.destroy()
                removed.append(version)
        for left in self._tree.leftovers(DIRECTORY):
            ours = is_version(left.name) or left.name.startswith(STAGING_PREFIX)
            if ours and moment.timestamp() - left.modified_at > ABANDONED_AFTER_S:
                self._tree.discard(f"{DIRECTORY}/{left.name}")
        return removed

    def _published_at(self, version: str) -> datetime:
        with suppress(ArtifactError):
            return self.manifest(version).created_at
        return datetime.strptime(version[:_SECOND], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)

    def _content(self, version: str) -> bytes | None:
        with suppress(ArtifactCorrupt):
            return self._tree.read(f"{DIRECTORY}/{version}/{MANIFEST_NAME}")
        return None
