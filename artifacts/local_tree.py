"""Artifacts in a directory of this machine, or of a shared file system with an atomic rename."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, suppress
from pathlib import Path

from artifacts.errors import ArtifactConflict, ArtifactStoreUnavailable
from artifacts.manifest import MANIFEST_NAME
from artifacts.regular_file import open_regular
from artifacts.tree import STAGING_PREFIX, Leftover, StoredFile, Withdrawn, explained, require_room, sweep

_ADVICE = "Check the path, its permissions and free space, then retry."


class LocalTree:
    """A directory of this machine (or of a shared file system with an atomic rename)."""

    def __init__(self, root: Path) -> None:
        self.root = root.expanduser().absolute()

    def require(self) -> None:
        """Return if the root is a directory that can be read, or may still be made."""
        with _explained(f"read {self.root}"), suppress(FileNotFoundError):
            try:
                next(self.root.iterdir(), None)
            except NotADirectoryError:
                text = f"{self.root} is not a directory. Name the directory that holds artifacts."
                raise ArtifactStoreUnavailable(text) from None

    def read(self, name: str) -> bytes | None:
        """The file's bytes, or None where there is no such file."""
        with _explained(f"read {self.root / name}"):
            try:
                with open_regular(self.root / name) as file:
                    return file.read()
            except (FileNotFoundError, NotADirectoryError):
                return None

    def replace(self, name: str, content: bytes) -> None:
        """Write beside, flush to disk, rename over; what else is there than a file or its directory is moved aside."""
        target = self.root / name
        with _explained(f"write {target}"):
            try:
                target.parent.mkdir(parents=True, exist_ok=True)
            except FileExistsError:
                # Nothing is moved that another has just made as a directory.
                if target.parent != self.root:
                    _move_aside(target.parent)
                target.parent.mkdir(parents=True, exist_ok=True)
            if not target.is_file():
                _move_aside(target)
            descriptor, beside = tempfile.mkstemp(prefix=STAGING_PREFIX, dir=target.parent)
            try:
                with os.fdopen(descriptor, "wb") as file:
                    file.write(content)
                    file.flush()
                    os.fchmod(file.fileno(), 0o644)
                    os.fsync(file.fileno())
                Path(beside).replace(target)
            except BaseException:
                Path(beside).unlink(missing_ok=True)
                raise
            _flush(target.parent)

    def names(self, name: str) -> list[str]:
        """The names of the files directly below *name*, sorted."""
        return sorted(entry.name for entry in self._entries(name) if not entry.is_dir())

    def directories(self, name: str) -> list[str]:
        """The names of the directories directly below *name*, sorted."""
        return sorted(entry.name for entry in self._entries(name) if entry.is_dir())

    def files(self, name: str) -> list[StoredFile]:
        """Every file below *name*, however deep."""
        directory = self.root / name
        with _explained(f"list {directory}"):
            return [
                StoredFile(path.relative_to(directory).as_posix(), found.st_size, found.st_mtime)
                for path, found in _below(directory)
                if not path.is_dir()
            ]

    def put_directory(self, source: Path, files: list[str], name: str, manifest: bytes) -> None:
        """Copy beside, flush to disk, rename; what a killed writer left behind is swept after a day."""
        target = self.root / name
        with _explained(f"write {target}"):
            target.parent.mkdir(parents=True, exist_ok=True)
            sweep(target.parent)
            require_room(target.parent, sum((source / file).stat().st_size for file in files) + len(manifest))
            staging = Path(tempfile.mkdtemp(prefix=f"{STAGING_PREFIX}{target.name}-", dir=target.parent))
            try:
                staging.chmod(0o755)
                for file in files:
                    copy = staging / file
                    copy.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(source / file, copy)
                    _flush(copy)
                (staging / MANIFEST_NAME).write_bytes(manifest)
                _flush(staging / MANIFEST_NAME)
                _flush(staging)
                _refuse_existing(target)
                staging.rename(target)
                _flush(target.parent)
            except BaseException:
                shutil.rmtree(staging, ignore_errors=True)
                raise

    def withdraw(self, name: str) -> Withdrawn | None:
        """Move the directory aside by one rename."""
        target = self.root / name
        with _explained(f"remove {target}"):
            aside = Path(tempfile.mkdtemp(prefix=f"{STAGING_PREFIX}{target.name}-", dir=target.parent))
            try:
                target.rename(aside / target.name)
            except FileNotFoundError:
                aside.rmdir()
                return None
            except BaseException:
                aside.rmdir()
                raise
            return _MovedAside(target, aside)

    def leftovers(self, name: str) -> list[Leftover]:
        """Staging files and directories."""
        found = []
        for entry in self._entries(name):
            if entry.name.startswith(STAGING_PREFIX):
                with _explained(f"list {entry}"), suppress(FileNotFoundError):
                    stats = [(path, each) for path, each in _below(entry)] + [(entry, entry.stat())]
                    size = sum(each.st_size for path, each in stats if not path.is_dir())
                    found.append(Leftover(entry.name, size, max(each.st_mtime for _, each in stats)))
        return found

    def discard(self, name: str) -> None:
        """Remove the directory or file."""
        target = self.root / name
        with _explained(f"remove {target}"), suppress(FileNotFoundError):
            if target.is_dir() and not target.is_symlink():
                shutil.rmtree(target)
            else:
                target.unlink()

    def local_directory(self, name: str) -> Path:
        """The directory itself."""
        return self.root / name

    def download(self, name: str, files: list[str]) -> bool:  # noqa: ARG002  there is nothing to bring
        """Nothing to do: what lies here is all there is."""
        return False

    def _entries(self, name: str) -> list[Path]:
        with _explained(f"list {self.root / name}"):
            try:
                return list((self.root / name).iterdir())
            except (FileNotFoundError, NotADirectoryError):
                return []


class _MovedAside:
    """A directory under another name."""

    def __init__(self, target: Path, aside: Path) -> None:
        self._target = target
        self._aside = aside

    def restore(self) -> None:
        """Rename it back."""
        with _explained(f"restore {self._target}"):
            (self._aside / self._target.name).rename(self._target)
            self._aside.rmdir()

    def destroy(self) -> None:
        """Remove it for good."""
        with _explained(f"remove {self._aside}"):
            shutil.rmtree(self._aside)


def _explained(intent: str) -> AbstractContextManager[None]:
    return explained(intent, _ADVICE)


def _below(directory: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Every path below *directory* that is still there, links not followed."""
    for path in directory.rglob("*"):
        with suppress(FileNotFoundError):
            yield path, path.lstat()


def _refuse_existing(target: Path) -> None:
    if target.exists():
        raise ArtifactConflict(f"{target} exists already. Publish under a new version.")


def _move_aside(target: Path) -> None:
    """Make way where there is something that does not belong; it is swept after a day."""
    with suppress(FileNotFoundError):
        target.lstat()
        aside = tempfile.mkdtemp(prefix=f"{STAGING_PREFIX}{target.name}-", dir=target.parent)
        target.rename(Path(aside) / target.name)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
