"""Whether the version in use was made from the same, so that a new one would be no other."""

from __future__ import annotations

import argparse
import hashlib
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
    """The manifest of the version in use, if it is sound and was made from *origin* (`made_from`); else None."""
    try:
        version = parent_of(store, kind)
        if version is None or store.manifest(kind, version).parameters.get(MADE_FROM) != origin:
            return None
        return gate.judge(store, kind, version).manifest
    except ArtifactError as error:
        say(f"the version in use cannot stay: {error}")
        return None
