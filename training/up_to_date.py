"""Whether the version in use was made from the same, so that a new one would be no other."""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json

from artifacts import gate
from artifacts.errors import ArtifactError
from artifacts.event_weights import weights_in_manifest
from artifacts.manifest import ArtifactKind, Manifest
from artifacts.store import ArtifactStore
from training.progress import say
from training.publication import parent_of

MADE_FROM = "made_from"
_NOT_OF_THE_RESULT = {
    "root", "runs", "config", "check_flags", "activate", "margin", "force", "if_changed", "snapshot", "interactions",
    "workers", "cpus", "checkpoint_every", "device",
}  # fmt: skip


def made_from(inputs: str, flags: argparse.Namespace) -> str:
    """
    Return what says of a version's inputs, of its flags and of how events weigh whether they are the same.

    Args:
        inputs: A digest of what was read.
        flags: Of the job; those that do not change what comes out do not count.
    """
    said = {name: value for name, value in vars(flags).items() if name not in _NOT_OF_THE_RESULT}
    document = {"inputs": inputs, "flags": said, "event_weights": weights_in_manifest()}
    return hashlib.sha256(json.dumps(document, sort_keys=True, default=str).encode()).hexdigest()


def current(store: ArtifactStore, kind: ArtifactKind, origin: str) -> Manifest | None:
    """
    The manifest of the version in use, if it is sound and *origin* (`made_from`) would bring nothing new; else None.

    It would not where that version was made from it, nor where one that was made from it was rolled back.
    """
    try:
        version = parent_of(store, kind)
        if version is None:
            return None
        if store.manifest(kind, version).parameters.get(MADE_FROM) != origin:
            left = next((each for each in _rolled_back(store, kind) if _origin(store, kind, each) == origin), None)
            if left is None:
                return None
            say(f"{left} was made from the same, and was rolled back")
        return gate.judge(store, kind, version).manifest
    except ArtifactError as error:
        say(f"the version in use cannot stay: {error}")
        return None


def _rolled_back(store: ArtifactStore, kind: ArtifactKind) -> list[str]:
    """The versions that were left since one was last activated."""
    left = itertools.takewhile(lambda each: each.action == "rollback", reversed(store.history(kind)))
    return [each.replaced for each in left if each.replaced is not None]


def _origin(store: ArtifactStore, kind: ArtifactKind, version: str) -> object:
    """What a version was made from; None where it is not there any more."""
    try:
        return store.manifest(kind, version).parameters.get(MADE_FROM)
    except ArtifactError:
        return None
