"""Artifacts in an object store, reached through ``pyarrow.fs``."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import IO

from pyarrow import ArrowException
from pyarrow import fs as arrow_fs

from artifacts.errors import ArtifactConflict, ArtifactStoreUnavailable
from artifacts.manifest import MANIFEST_NAME
from artifacts.tree import STAGING_PREFIX, Leftover, StoredFile, Withdrawn, explained, require_room, sweep

_ADVICE = (
    "Check the bucket's name, the endpoint and region in the URI, the credentials (AWS_ACCESS_KEY_ID, "
    "AWS_SECRET_ACCESS_KEY) and what they may do, and the network, then retry."
)


class ObjectTree:
    """A prefix of an object store; whole files are fetched into *cache*."""

    def __init__(self, filesystem: arrow_fs.FileSystem, base: str, cache: Path) -> None:
        self._fs = filesystem
        self._base = base.rstrip("/")
        self._cache = cache.expanduser().absolute()

    def require(self) -> None:
        """Return if the bucket is there and may be listed."""
        bucket = self._base.partition("/")[0]
        with _explained(f"list {self._base}"):
            self._fs.get_file_info(arrow_fs.FileSelector(self._base, allow_not_found=True))
            found = self._fs.get_file_info(bucket).type
        if found != arrow_fs.FileType.Directory:
            raise ArtifactStoreUnavailable(f"There is no bucket {bucket}, or it is not ours to see. {_ADVICE}")

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
        with _explained(f"write {self._path(name)}"), self._writing(name) as stream:
            stream.write(content)

    def names(self, name: str) -> list[str]:
        """The names of the objects directly below *name*, sorted."""
        return sorted(info.base_name for info in self._listed(name) if info.type == arrow_fs.FileType.File)

    def directories(self, name: str) -> list[str]:
        """The names of the prefixes directly below *name*, sorted."""
        return sorted(info.base_name for info in self._listed(name) if info.type == arrow_fs.FileType.Directory)

    def files(self, name: str) -> list[StoredFile]:
        """Every object below *name*."""
        start = len(self._path(name)) + 1
        return [
            StoredFile(info.path[start:], info.size or 0, info.mtime.timestamp())
            for info in self._listed(name, recursive=True)
            if info.type == arrow_fs.FileType.File
        ]

    def put_directory(self, source: Path, files: list[str], name: str, manifest: bytes) -> None:
        """
        Upload every file, the manifest last; a failed upload is removed as far as the store lets us.

        What an uploader that was killed left under the same name is overwritten or removed.
        """
        if self.read(f"{name}/{MANIFEST_NAME}") is not None:
            raise ArtifactConflict(f"{self._path(name)} exists already. Publish under a new version.")
        with _explained(f"write {self._path(name)}"):
            try:
                for left in self.files(name):
                    if left.name not in files:
                        self._fs.delete_file(self._path(f"{name}/{left.name}"))
                for file in files:
                    with (source / file).open("rb") as content, self._writing(f"{name}/{file}") as stream:
                        shutil.copyfileobj(content, stream, 1 << 20)
                self.replace(f"{name}/{MANIFEST_NAME}", manifest)
            except BaseException:
                with suppress(OSError, ArrowException):
                    self._fs.delete_dir(self._path(name))
                raise

    def withdraw(self, name: str) -> Withdrawn | None:
        """Delete the manifest: without it there is no version."""
        manifest = self.read(f"{name}/{MANIFEST_NAME}")
        if manifest is None:
            return None
        with _explained(f"remove {self._path(name)}"):
            self._fs.delete_file(self._path(f"{name}/{MANIFEST_NAME}"))
        return _WithoutManifest(self, name, manifest)

    def leftovers(self, name: str) -> list[Leftover]:
        """Prefixes that hold files and no manifest, or nothing."""
        found = []
        for directory in self.directories(name):
            files = self.files(f"{name}/{directory}")
            if all(file.name != MANIFEST_NAME for file in files):
                size = sum(file.bytes for file in files)
                found.append(Leftover(directory, size, max((file.modified_at for file in files), default=0.0)))
        return found

    def discard(self, name: str) -> None:
        """Delete every object below *name*, and the copies that this machine keeps."""
        with _explained(f"remove {self._path(name)}"), suppress(FileNotFoundError):
            self._fs.delete_dir(self._path(name))
        shutil.rmtree(self._cache / name, ignore_errors=True)

    def local_directory(self, name: str) -> Path:
        """Where the cache keeps *name*, fetched or not."""
        return self._cache / name

    def download(self, name: str, files: list[str]) -> bool:
        """Fetch *files* beside the cached directory, then swap the two by renaming."""
        target = self._cache / name
        with _explained(f"fetch {self._path(name)} into {target}"):
            target.parent.mkdir(parents=True, exist_ok=True)
            sweep(target.parent)
            require_room(target.parent, self._size(f"{name}/{file}" for file in files))
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

    def _listed(self, name: str, *, recursive: bool = False) -> list[arrow_fs.FileInfo]:
        selector = arrow_fs.FileSelector(self._path(name), allow_not_found=True, recursive=recursive)
        with _explained(f"list {self._path(name)}"):
            found: list[arrow_fs.FileInfo] = self._fs.get_file_info(selector)
            return found

    @contextmanager
    def _writing(self, name: str) -> Iterator[IO[bytes]]:
        """A stream into the object; the directories above it are made where the file system has such."""
        path = self._path(name)
        try:
            stream = self._fs.open_output_stream(path)
        except FileNotFoundError:
            self._fs.create_dir(path.rpartition("/")[0], recursive=True)
            stream = self._fs.open_output_stream(path)
        with stream:
            yield stream

    def _download(self, name: str, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        with (
            suppress(FileNotFoundError),
            self._fs.open_input_stream(self._path(name)) as stream,
            target.open("wb") as file,
        ):
            shutil.copyfileobj(stream, file, 1 << 20)


class _WithoutManifest:
    """A version whose files are there still."""

    def __init__(self, tree: ObjectTree, name: str, manifest: bytes) -> None:
        self._tree = tree
        self._name = name
        self._manifest = manifest

    def restore(self) -> None:
        """Put the manifest back."""
        self._tree.replace(f"{self._name}/{MANIFEST_NAME}", self._manifest)

    def destroy(self) -> None:
        """Delete the rest."""
        self._tree.discard(self._name)


def _explained(intent: str) -> AbstractContextManager[None]:
    return explained(intent, _ADVICE)
