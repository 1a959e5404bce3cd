"""
Where artifacts lie: a local directory or an object store, behind the same few verbs.

Both promise that a directory put under a name appears whole or not at all, and that a small file is replaced at
once. Locally a rename gives that; on an object store the manifest, written last, does.
"""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

from pyarrow import ArrowException
from pyarrow import fs as arrow_fs

from artifacts.errors import ArtifactConflict, ArtifactStoreUnavailable
from artifacts.manifest import MANIFEST_NAME
from artifacts.regular_file import open_regular

STAGING_PREFIX = ".staging-"
_ABANDONED_AFTER_S = 24 * 3600.0
_MAKE_ROOM = (
    "Nothing was changed. Make room there, for example by removing versions and training runs that nobody needs, "
    "then run it again."
)


class Tree(Protocol):
    """A rooted tree of files; every name is a relative posix path."""

    def read(self, name: str) -> bytes | None:
        """
        The file's bytes, or None where there is no such file.

        Raises:
            ArtifactCorrupt: something else than a file is there.
        """

    def replace(self, name: str, content: bytes) -> None:
        """Put a small file in place of the old one, at once."""

    def append(self, name: str, line: bytes) -> None:
        """Add one line at the end of a small file."""

    def directories(self, name: str) -> list[str]:
        """The names of the directories directly below *name*, sorted; none where it does not exist."""

    def put_directory(self, source: Path, files: list[str], name: str, manifest: bytes) -> None:
        """
        Put *files* of *source* and the manifest below *name*; readers see all of it or none.

        Raises:
            ArtifactConflict: *name* exists.
        """

    def local_directory(self, name: str) -> Path:
        """Where this machine keeps the files of *name*, present or not."""

    def download(self, name: str, files: list[str]) -> bool:
        """Bring *files* of *name* to its local directory anew; False where the tree is local already."""


class LocalTree:
    """A directory of this machine (or of a shared file system with an atomic rename)."""

    def __init__(self, root: Path) -> None:
        self.root = root.expanduser().absolute()

    def read(self, name: str) -> bytes | None:
        """The file's bytes, or None where there is no such file."""
        with _explained(f"read {self.root / name}"):
            try:
                with open_regular(self.root / name) as file:
                    return file.read()
            except (FileNotFoundError, NotADirectoryError):
                return None

    def replace(self, name: str, content: bytes) -> None:
        """Write beside, flush to disk, rename over."""
        target = self.root / name
        with _explained(f"write {target}"):
            target.parent.mkdir(parents=True, exist_ok=True)
            _make_way(target)
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

    def append(self, name: str, line: bytes) -> None:
        """Add one line; a single write to a file opened for appending is not torn by another writer."""
        target = self.root / name
        with _explained(f"append to {target}"):
            target.parent.mkdir(parents=True, exist_ok=True)
            _make_way(target)
            descriptor = os.open(target, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
            try:
                _append(descriptor, line)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def directories(self, name: str) -> list[str]:
        """The names of the directories directly below *name*, sorted."""
        with _explained(f"list {self.root / name}"):
            try:
                return sorted(entry.name for entry in (self.root / name).iterdir() if entry.is_dir())
            except (FileNotFoundError, NotADirectoryError):
                return []

    def put_directory(self, source: Path, files: list[str], name: str, manifest: bytes) -> None:
        """Copy beside, flush to disk, rename; what a killed writer left behind is swept after a day."""
        target = self.root / name
        with _explained(f"write {target}"):
            target.parent.mkdir(parents=True, exist_ok=True)
            _sweep(target.parent)
            _require_room(target.parent, sum((source / file).stat().st_size for file in files) + len(manifest))
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

    def local_directory(self, name: str) -> Path:
        """The directory itself."""
        return self.root / name

    def download(self, name: str, files: list[str]) -> bool:  # noqa: ARG002  there is nothing to bring
        """Nothing to do: what lies here is all there is."""
        return False


class ObjectTree:
    """A prefix of an object store reached through ``pyarrow.fs``; whole files are fetched into *cache*."""

    def __init__(self, filesystem: arrow_fs.FileSystem, base: str, cache: Path) -> None:
        self._fs = filesystem
        self._base = base.rstrip("/")
        self._cache = cache.expanduser().absolute()

    def read(self, name: str) -> bytes | None:
        """The object's bytes, or None where there is no such object."""
        with _explained(f"read {self._path(name)}"):
            try:
                with self._fs.open_input_stream(self._path(name)) as stream:
                    return bytes(stream.read())
            except (FileNotFoundError, NotADirectoryError):
                return None

    def replace(self, name: str, content: bytes) -> None:
        """Put the object; a put is atomic."""
        with _explained(f"write {self._path(name)}"):
            self._fs.create_dir(self._path(name).rpartition("/")[0], recursive=True)
            with self._fs.open_output_stream(self._path(name)) as stream:
                stream.write(content)

    def append(self, name: str, line: bytes) -> None:
        """Read, add, put back: of two writers in the same instant one line may be lost."""
        self.replace(name, (self.read(name) or b"") + line)

    def directories(self, name: str) -> list[str]:
        """The names of the prefixes directly below *name*, sorted."""
        selector = arrow_fs.FileSelector(self._path(name), allow_not_found=True)
        with _explained(f"list {self._path(name)}"):
            found = self._fs.get_file_info(selector)
            return sorted(info.base_name for info in found if info.type == arrow_fs.FileType.Directory)

    def put_directory(self, source: Path, files: list[str], name: str, manifest: bytes) -> None:
        """Upload every file, the manifest last; a failed upload is removed as far as the store lets us."""
        if self.read(f"{name}/{MANIFEST_NAME}") is not None:
            raise ArtifactConflict(f"{self._path(name)} exists already. Publish under a new version.")
        with _explained(f"write {self._path(name)}"):
            try:
                for file in files:
                    self._upload(source / file, f"{name}/{file}")
                self.replace(f"{name}/{MANIFEST_NAME}", manifest)
            except BaseException:
                with suppress(OSError, ArrowException):
                    self._fs.delete_dir(self._path(name))
                raise

    def local_directory(self, name: str) -> Path:
        """Where the cache keeps *name*, fetched or not."""
        return self._cache / name

    def download(self, name: str, files: list[str]) -> bool:
        """Fetch *files* beside the cached directory, then swap the two by renaming."""
        target = self._cache / name
        with _explained(f"fetch {self._path(name)} into {target}"):
            target.parent.mkdir(parents=True, exist_ok=True)
            _sweep(target.parent)
            _require_room(target.parent, self._size(f"{name}/{file}" for file in files))
            with tempfile.TemporaryDirectory(prefix=STAGING_PREFIX, dir=target.parent) as staging:
                fetched = Path(staging) / "fetched"
                for file in files:
                    self._download(f"{name}/{file}", fetched / file)
                if target.exists():
                    target.rename(Path(staging) / "replaced")
                # Another process may have fetched the same files in between: then its copy stays.
                with suppress(OSError):
                    fetched.rename(target)
        return True

    def _path(self, name: str) -> str:
        return f"{self._base}/{name}"

    def _size(self, names: Iterable[str]) -> int:
        """The bytes of those objects that exist."""
        found = self._fs.get_file_info([self._path(name) for name in names])
        return sum(info.size or 0 for info in found)

    def _upload(self, source: Path, name: str) -> None:
        self._fs.create_dir(self._path(name).rpartition("/")[0], recursive=True)
        with source.open("rb") as file, self._fs.open_output_stream(self._path(name)) as stream:
            shutil.copyfileobj(file, stream, 1 << 20)

    def _download(self, name: str, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        with (
            suppress(FileNotFoundError),
            self._fs.open_input_stream(self._path(name)) as stream,
            target.open("wb") as f,
        ):
            shutil.copyfileobj(stream, f, 1 << 20)


def _refuse_existing(target: Path) -> None:
    if target.exists():
        raise ArtifactConflict(f"{target} exists already. Publish under a new version.")


def _sweep(directory: Path) -> None:
    """Remove staging directories that nobody has touched for a day."""
    for left in directory.glob(f"{STAGING_PREFIX}*"):
        with suppress(OSError):
            if time.time() - left.stat().st_mtime > _ABANDONED_AFTER_S:
                shutil.rmtree(left, ignore_errors=True)


def _make_way(target: Path) -> None:
    """Move aside what is there if it is no file; it is swept after a day."""
    with suppress(FileNotFoundError):
        if not target.is_file() and (target.exists() or target.is_symlink()):
            aside = tempfile.mkdtemp(prefix=f"{STAGING_PREFIX}{target.name}-", dir=target.parent)
            target.rename(Path(aside) / target.name)


def _append(descriptor: int, line: bytes) -> None:
    """Write *line* whole or not at all, and never behind half a line that somebody else left."""
    before = os.fstat(descriptor).st_size
    if before and os.pread(descriptor, 1, before - 1) != b"\n":
        line = b"\n" + line
    written = os.write(descriptor, line)
    if written < len(line):
        os.ftruncate(descriptor, before)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _require_room(directory: Path, needed: int) -> None:
    """Refuse to begin what would fill the disk: others may live on it."""
    free = shutil.disk_usage(directory).free
    if free < needed:
        raise ArtifactStoreUnavailable(
            f"{directory} needs {needed:,} bytes and its disk has {free:,} left: No space left on device. {_MAKE_ROOM}"
        )


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _explained(intent: str) -> Iterator[None]:
    """Turn an operating system's or object store's refusal into advice."""
    try:
        yield
    except (OSError, ArrowException) as error:
        if isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise ArtifactStoreUnavailable(f"Cannot {intent}: {error}. {_MAKE_ROOM}") from error
        raise ArtifactStoreUnavailable(
            f"Cannot {intent}: {error}. Check the path, its permissions, free space and the network, then retry."
        ) from error
