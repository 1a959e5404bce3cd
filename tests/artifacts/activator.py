"""Run as a process of its own: activates versions of a store, one after the other, as fast as it can."""

from __future__ import annotations

import sys

from artifacts.store import ArtifactStore


def main(root: str, cache: str, times: str, *versions: str) -> None:
    """Activate *versions* in turn, *times* times."""
    store = ArtifactStore(root, cache=cache)
    for number in range(int(times)):
        store.activate("collaborative", versions[number % len(versions)])


if __name__ == "__main__":
    main(*sys.argv[1:])
