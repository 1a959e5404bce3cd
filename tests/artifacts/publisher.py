"""Run as a process of its own: publishes a directory as a version; says so before it begins and when it has ended."""

from __future__ import annotations

import sys
from pathlib import Path

from artifacts.manifest import ManifestDraft
from artifacts.store import ArtifactStore


def main(root: str, cache: str, directory: str, version: str) -> None:
    """Publish *directory* as *version*."""
    store = ArtifactStore(root, cache=cache)
    print("begins", flush=True)  # noqa: T201  the test waits for it
    store.publish(Path(directory), ManifestDraft(kind="collaborative", version=version))
    print("done", flush=True)  # noqa: T201  same


if __name__ == "__main__":
    main(*sys.argv[1:])
