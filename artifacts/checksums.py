"""Whether files are what their manifest says."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from artifacts.errors import ArtifactCorrupt, ArtifactStoreUnavailable
from artifacts.manifest import FileRecord
from artifacts.regular_file import open_regular


class Recorded(Protocol):
    """A manifest, whatever it is of."""

    @property
    def files(self) -> Mapping[str, FileRecord]:
        """Each file's relative posix path and its record."""


def first_difference(directory: Path, manifest: Recorded) -> str | None:
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
