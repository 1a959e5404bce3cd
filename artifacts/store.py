"""
The artifact store: ``<root>/<kind>/<version>/`` with its manifest, ``<root>/<kind>/ACTIVE`` naming the version in use.

A version exists once its manifest does, and is never changed afterwards. ``<root>/<kind>/history/`` holds a small file
for each activation, so that of two at once none is lost; ``<root>/<kind>/HISTORY``, a line for each, is read still.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from artifacts.activations import ENTRY_SUFFIX, HISTORY_READ, Action, Activation, entry_name, in_use_before
from artifacts.checksums import first_difference, sha256_of
from artifacts.errors import ArtifactCorrupt, ArtifactError, ArtifactMissing, ArtifactStoreUnavailable
from artifacts.manifest import MANIFEST_NAME, ArtifactKind, FileRecord, Manifest, ManifestDraft, is_version
from artifacts.places import tree_at
from artifacts.tree import STAGING_PREFIX, Leftover, StoredFile, Tree, Withdrawn
from artifacts.trials import TrialLog

ROOT_VARIABLE = "SHORTLIST_ARTIFACTS"
CACHE_VARIABLE = "SHORTLIST_ARTIFACT_CACHE"


class ArtifactStore:
    """Versions of artifacts below one root: a local directory, or a URI that ``pyarrow.fs`` understands (s3, gs...)."""

    def __init__(self, root: str, *, cache: str | None = None) -> None:
        self.root = root
        self._tree = tree_at(root, cache)

    @classmethod
    def over(cls, tree: Tree, root: str) -> ArtifactStore:
        """A store over a tree made elsewhere; *root* is what messages call it."""
        store = cls.__new__(cls)
        store.root = root
        store._tree = tree  # noqa: SLF001  a second constructor
        return store

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> ArtifactStore:
        """The store that ``SHORTLIST_ARTIFACTS`` names; remote files are cached below ``SHORTLIST_ARTIFACT_CACHE``."""
        root = environ.get(ROOT_VARIABLE, "").strip()
        if not root:
            raise ArtifactStoreUnavailable(
                f"{ROOT_VARIABLE} is not set. Set it to the artifacts' directory, or to a URI such as s3://bucket/prefix."
            )
        return cls(root, cache=environ.get(CACHE_VARIABLE) or None)

    def active_version(self, kind: ArtifactKind) -> str | None:
        """
        Return the version that ``ACTIVE`` names, or None where none was activated yet.

        Raises:
            ArtifactCorrupt: ``ACTIVE`` holds something else than a version.
        """
        content = self._tree.read(f"{kind}/ACTIVE")
        if content is None:
            return None
        version = content.decode("ascii", "replace").strip()
        if not is_version(version):
            raise ArtifactCorrupt(
                f"{self.root}/{kind}/ACTIVE does not name a version. Activate one of: {', '.join(self.versions(kind))}."
            )
        return version

    def versions(self, kind: ArtifactKind) -> list[str]:
        """The whole versions of *kind*, oldest first."""
        names = [name for name in self._tree.directories(kind) if is_version(name)]
        return [name for name in names if self._has_manifest(kind, name)]

    def history(self, kind: ArtifactKind) -> list[Activation]:
        """The latest activations of *kind*, oldest first; what cannot be read is passed over."""
        activations = []
        for line in (self._read_if_file(f"{kind}/HISTORY") or b"").splitlines():
            activations += Activation.told(line)
        names = [name for name in self._tree.names(f"{kind}/history") if name.endswith(ENTRY_SUFFIX)]
        for name in names[-HISTORY_READ:]:
            activations += Activation.told(self._read_if_file(f"{kind}/history/{name}") or b"")
        return activations[-HISTORY_READ:]

    def in_use_before(self, kind: ArtifactKind) -> list[str]:
        """
        Return the versions that a rollback may go to, the best first: those in use before the present one.

        What was rolled back from is not among them. Where ``ACTIVE`` is damaged or gone, the version in use last comes
        first. Parents that the history does not tell of come last.
        """
        try:
            active = self.active_version(kind)
        except ArtifactCorrupt:
            active = None
        history = self.history(kind)
        mentioned = {activation.version for activation in history}
        untold = [version for version in self.once_active(kind) if version not in mentioned]
        there = {*self.versions(kind)} - {active}
        return [version for version in [*in_use_before(history, active), *untold] if version in there]

    def once_active(self, kind: ArtifactKind) -> list[str]:
        """
        Return the versions that were in use, the last one first; each passed the gate of its job.

        Where ``HISTORY`` is damaged, those that later versions name as their parent are known still.
        """
        used: list[str] = []
        with suppress(ArtifactError):
            used = [activation.version for activation in reversed(self.history(kind))]
        for version in reversed(self.versions(kind)):
            with suppress(ArtifactError):
                used.append(self.manifest(kind, version).parent or "")
        return [version for version in dict.fromkeys(used) if is_version(version)]

    def trials(self, kind: ArtifactKind) -> TrialLog:
        """The trials of *kind*: which version is tried beside the active one, and how earlier trials ended."""
        return TrialLog(self._tree, kind, self.root)

    def on_trial(self, kind: ArtifactKind) -> str | None:
        """
        Return the version that is tried beside the active one, or None.

        Raises:
            ArtifactCorrupt: ``TRIAL`` is damaged.
        """
        trial = self.trials(kind).current()
        return None if trial is None else trial.version

    def manifest(self, kind: ArtifactKind, version: str) -> Manifest:
        """
        Return the manifest of a version.

        Raises:
            ArtifactMissing: there is no such version.
            ArtifactCorrupt: the manifest cannot be read, or belongs to another version.
        """
        where = f"{self.root}/{kind}/{version}"
        content = self._tree.read(f"{kind}/{version}/{MANIFEST_NAME}") if is_version(version) else None
        if content is None:
            raise ArtifactMissing(f"There is no {where}. Train one, or activate one of those that `versions` lists.")
        try:
            manifest = Manifest.read(content)
        except ValueError as error:
            raise ArtifactCorrupt(f"{where}/{MANIFEST_NAME} cannot be read ({error}). {_ADVICE}") from error
        if (manifest.kind, manifest.version) != (kind, version):
            raise ArtifactCorrupt(f"{where} holds {manifest.kind} {manifest.version}. {_ADVICE}")
        return manifest

    def publish(self, directory: Path, draft: ManifestDraft) -> Manifest:
        """
        Make the files below *directory* a version; *directory* itself stays as it is.

        Readers see the version when all of it is there. It is not activated.

        Raises:
            ArtifactConflict: the version exists.
            ArtifactStoreUnavailable: nothing was published.
        """
        files = {
            path.relative_to(directory).as_posix(): FileRecord(sha256=sha256_of(path), bytes=path.stat().st_size)
            for path in sorted(directory.rglob("*"))
            if path.is_file() and path.name != MANIFEST_NAME
        }
        manifest = Manifest(**draft.model_dump(), files=files).sealed()
        content = manifest.model_dump_json(indent=2).encode() + b"\n"
        self._tree.put_directory(directory, list(files), f"{draft.kind}/{draft.version}", content)
        return manifest

    def activate(
        self, kind: ArtifactKind, version: str, *, action: Action = "activate", overruled: Collection[str] = ()
    ) -> None:
        """
        Make *version* the one that serving loads, after verifying every file of it; `artifacts.gate` judges it first.

        Args:
            action: What the history is to call it.
            overruled: What spoke against it and was overruled.

        Raises:
            ArtifactMissing, ArtifactCorrupt, ArtifactStoreUnavailable: the active version stays as it was.
        """
        self.fetch(kind, version)
        try:
            replaced = self.active_version(kind)
        except ArtifactCorrupt:
            replaced = None
        activation = Activation(
            version=version,
            replaced=replaced,
            activated_at=datetime.now(UTC),
            action=action,
            overruled=tuple(overruled),
        )
        # First, so that nothing can be in use that is not written down.
        self._tree.replace(f"{kind}/history/{entry_name(activation)}", activation.model_dump_json().encode() + b"\n")
        self._tree.replace(f"{kind}/ACTIVE", version.encode() + b"\n")
        if not self._has_manifest(kind, version):
            # Pruned in the same moment; `withdraw` looks at ACTIVE after it has hidden a version.
            if replaced is not None:
                self._tree.replace(f"{kind}/ACTIVE", replaced.encode() + b"\n")
            raise ArtifactMissing(f"{self.root}/{kind}/{version} was removed meanwhile. Activate another version.")
        with suppress(ArtifactError):
            # Replicas end it themselves where this is not done any more.
            if (trial := self.trials(kind).current()) is not None and trial.version == version:
                self.trials(kind).end(trial.id, "it was activated")

    def withdraw(self, kind: ArtifactKind, version: str) -> Withdrawn | None:
        """Hide a version from readers, to remove it; None where it is gone, or came into use in the same moment."""
        withdrawn = self._tree.withdraw(f"{kind}/{version}")
        if withdrawn is None:
            return None
        try:
            needed = version in (self.active_version(kind), self.on_trial(kind))
        except ArtifactError:
            needed = True
        if needed:
            withdrawn.restore()
            return None
        return withdrawn

    def files(self, kind: ArtifactKind, version: str) -> list[StoredFile]:
        """Every file of a version as it lies there, whatever its manifest says."""
        return self._tree.files(f"{kind}/{version}")

    def leftovers(self, kind: ArtifactKind) -> list[Leftover]:
        """What killed writers left; readers do not see it."""
        found = self._tree.leftovers(kind)
        return [left for left in found if is_version(left.name) or left.name.startswith(STAGING_PREFIX)]

    def discard(self, kind: ArtifactKind, leftover: Leftover) -> None:
        """Remove what a killed writer left."""
        self._tree.discard(f"{kind}/{leftover.name}")

    def require(self) -> None:
        """
        Return if the root can be read, be it empty.

        Raises:
            ArtifactStoreUnavailable: it cannot; the message says what to look at.
        """
        self._tree.require()

    def fetch(
        self, kind: ArtifactKind, version: str, *, only: Collection[str] | None = None, anew: bool = False
    ) -> Path:
        """
        Return a local directory whose every file matches its sha256.

        Args:
            anew: Fetch what lies in the object store now, also where a sound copy of it is kept here.
            only: Fetch and verify these files alone. Fetching is by directory: those who want other files of the same
                version need a cache of their own.

        Raises:
            ArtifactMissing: there is no such version.
            ArtifactCorrupt: a file is absent or differs from the manifest.
        """
        manifest = self.manifest(kind, version)
        if only is not None:
            files = {file: record for file, record in manifest.files.items() if file in only}
            manifest = manifest.model_copy(update={"files": files})
        name = f"{kind}/{version}"
        directory = self._tree.local_directory(name)
        if anew:
            self._tree.download(name, sorted(manifest.files))
        difference = first_difference(directory, manifest)
        if difference is not None and self._tree.download(name, sorted(manifest.files)):
            difference = first_difference(directory, manifest)
        if difference is not None:
            raise ArtifactCorrupt(f"{self.root}/{name}: {difference}. {_ADVICE}")
        return directory

    def _read_if_file(self, name: str) -> bytes | None:
        with suppress(ArtifactCorrupt):
            return self._tree.read(name)
        return None

    def _has_manifest(self, kind: ArtifactKind, version: str) -> bool:
        with suppress(ArtifactCorrupt):
            return self._tree.read(f"{kind}/{version}/{MANIFEST_NAME}") is not None
        return False


_ADVICE = "Roll back by activating another version, or train again."
