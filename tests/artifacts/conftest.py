"""Versions to publish."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from artifacts.manifest import Manifest, ManifestDraft
from artifacts.store import ArtifactStore

Publish = Callable[[str], Manifest]


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(str(tmp_path / "root"))


@pytest.fixture
def publish(store: ArtifactStore, tmp_path: Path) -> Publish:
    """Publish a ``collaborative`` version of one file, ``note.txt``; versions are a second apart in name."""
    count = 0

    def publish_one(content: str) -> Manifest:
        nonlocal count
        source = tmp_path / f"made-{count}"
        source.mkdir()
        (source / "note.txt").write_text(content)
        draft = ManifestDraft(kind="collaborative", version=f"20261122T1500{count:02d}Z-abcdef")
        count += 1
        return store.publish(source, draft)

    return publish_one
