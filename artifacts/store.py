"""
The artifact store: ``<root>/<kind>/<version>/`` with its manifest, ``<root>/<kind>/ACTIVE`` naming the version in use.

A version exists once its manifest does, and is never changed afterwards. ``<root>/<kind>/HISTORY`` holds one JSON line
an activation.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Collection, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from pyarrow import fs as arrow_fs
from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from artifacts.errors import ArtifactCorrupt, ArtifactError, ArtifactMissing, ArtifactStoreUnavailable
from artifacts.manifest import MANIFEST_NAME, ArtifactKind, FileRecord, Manifest, ManifestDraft, is_version
from artifacts.regular_file import open_regular
from artifacts.tree import LocalTree, ObjectTree, Tree

ROOT_VARIABLE = "SHORTLIST_ARTIFACTS"
CACHE_VARIABLE = "SHORTLIST_ARTIFACT_CACHE"


class Activation(BaseModel):
    """One line of ``HISTORY``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: str
    replaced: str | None
    activated_at: AwareDatetime


class ArtifactStore:
    """Versions of artifacts below one root: a local directory, or a URI that ``pyarrow.fs`` understands (s3, gs...)."""

    def __init__(self, root: str, *, cache: str | None = None) -> None:
        self.root = root
        self._tree = _tree_at(root, cache)

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
        """Every activation of *kind*, oldest first; lines that cannot be read are passed over."""
        activations = []
        for line in (self._tree.read(f"{kind}/HISTORY") or b"").splitlines():
            try:
                activations.append(Activation.model_validate_json(line))
            except ValidationError:
                continue
        return activations

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

    def activate(self, kind: ArtifactKind, version: str) -> None:
        """
        Make *version* the one that serving loads, after verifying every file of it.

        Raises:
            ArtifactMissing, ArtifactCorrupt, ArtifactStoreUnavailable: the active version stays as it was.
        """
        self.fetch(kind, version)
        try:
            replaced = self.active_version(kind)
        except ArtifactCorrupt:
            replaced = None
        activation = Activation(version=version, replaced=replaced, activated_at=datetime.now(UTC))
        # First, so that nothing can be in use that is not written down.
        self._tree.append(f"{kind}/HISTORY", json.dumps(activation.model_dump(mode="json")).encode() + b"\n")
        self._tree.replace(f"{kind}/ACTIVE", version.encode() + b"\n")

    def fetch(self, kind: ArtifactKind, version: str, *, only: Collection[str] | None = None) -> Path:
        """
        Return a local directory whose every file matches its sha256.

        Args:
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
        difference = first_difference(directory, manifest)
        if difference is not None and self._tree.download(name, sorted(manifest.files)):
            difference = first_difference(directory, manifest)
        if difference is not None:
            raise ArtifactCorrupt(f"{self.root}/{name}: {difference}. {_ADVICE}")
        return directory

    def _has_manifest(self, kind: ArtifactKind, version: str) -> bool:
        with suppress(ArtifactCorrupt):
            return self._tree.read(f"{kind}/{version}/{MANIFEST_NAME}") is not None
        return False


_ADVICE = "Roll back by activating another version, or train again."


def first_difference(directory: Path, manifest: Manifest) -> str | None:
    """Return how the files below *directory* first differ from *manifest*, or None where all match."""
    for name, record in sorted(manifest.files.items()):
        if difference := _difference(directory / name, name, record):
            return difference
    return None


def _difference(path: Path, name: str, record: FileRecord) -> str | None:
    try:
        with open_regular(path) as file:
            size = os.fstat(file.fileno()).st_size
            if size != record.bytes:
                return f"{name} has {size} bytes where the manifest says {record.bytes}"
            if hashlib.file_digest(file, "sha256").hexdigest() != record.sha256:
                return f"sha256 of {name} differs from the manifest"
    except (FileNotFoundError, NotADirectoryError):
        return f"{name} is missing"
    except ArtifactCorrupt:
        return f"{name} is not a file"
    except OSError as error:
        raise ArtifactStoreUnavailable(f"Cannot read {path}: {error}. Check its permissions, then retry.") from error
    return None


def sha256_of(path: Path) -> str:
    """The file's sha256 in lower-case hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _tree_at(root: str, cache: str | None) -> Tree:
    """Choose the tree by the shape of *root*: a URI other than ``file://`` is an object store."""
    scheme, separator, rest = root.partition("://")
    if not separator:
        return LocalTree(Path(root))
    if scheme == "file":
        return LocalTree(Path(rest))
    try:
        filesystem, base = arrow_fs.FileSystem.from_uri(root)
    except (OSError, ValueError) as error:
        raise ArtifactStoreUnavailable(
            f"Cannot open {root}: {error}. Name a local directory, or a URI such as s3://bucket/prefix."
        ) from error
    return ObjectTree(filesystem, base, _cache_for(root, cache))


def _cache_for(root: str, cache: str | None) -> Path:
    """A directory of this root's own, so that two stores never share cached versions."""
    parent = Path(cache) if cache else Path(tempfile.gettempdir()) / f"shortlist-artifacts-{os.getuid()}"
    return parent / hashlib.sha256(root.encode()).hexdigest()[:12]
