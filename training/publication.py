"""From a finished version to one in use."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from artifacts.errors import ArtifactCorrupt
from artifacts.manifest import ArtifactKind, Manifest
from artifacts.store import ArtifactStore


def parent_of(store: ArtifactStore, kind: ArtifactKind) -> str | None:
    """The version in use now, or None; a scribbled ``ACTIVE`` must not keep a job from replacing it."""
    try:
        return store.active_version(kind)
    except ArtifactCorrupt:
        return None


def activate_if_it_loads(store: ArtifactStore, manifest: Manifest, load: Callable[[Path, Manifest], object]) -> None:
    """
    Load the published version the way serving does, then put it into use.

    Raises:
        ArtifactCorrupt: it does not load; the version in use stays.
    """
    load(store.fetch(manifest.kind, manifest.version), manifest)
    store.activate(manifest.kind, manifest.version)
