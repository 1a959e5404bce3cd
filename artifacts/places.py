"""What lies at the root of a store: a local directory, or an object store."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

from pyarrow import fs as arrow_fs

from artifacts.errors import ArtifactStoreUnavailable
from artifacts.local_tree import LocalTree
from artifacts.object_tree import ObjectTree
from artifacts.tree import Tree


def tree_at(root: str, cache: str | None) -> Tree:
    """
    Return what lies at *root*: a local directory, or an object store for a URI other than ``file://``.

    Raises:
        ArtifactStoreUnavailable: the URI cannot be opened.
    """
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


def below(root: str, name: str) -> str:
    """Where *name* lies below *root*, a directory or a URI, whose query, such as the region, stays at its end."""
    where, mark, query = root.partition("?") if "://" in root else (root, "", "")
    return f"{where.rstrip('/')}/{name}{mark}{query}"


def _cache_for(root: str, cache: str | None) -> Path:
    """A directory of this root's own, so that two stores never share cached versions."""
    parent = Path(cache) if cache else Path(tempfile.gettempdir()) / f"shortlist-artifacts-{os.getuid()}"
    return parent / hashlib.sha256(root.encode()).hexdigest()[:12]
