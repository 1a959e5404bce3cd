"""From a finished version to one in use."""

from __future__ import annotations

import argparse

from artifacts import gate
from artifacts.errors import ArtifactCorrupt
from artifacts.manifest import ArtifactKind, Manifest
from artifacts.store import ArtifactStore
from training.progress import say


def parent_of(store: ArtifactStore, kind: ArtifactKind) -> str | None:
    """The version in use now, or None; a scribbled ``ACTIVE`` must not keep a job from replacing it."""
    try:
        return store.active_version(kind)
    except ArtifactCorrupt:
        return None


def put_into_use(
    store: ArtifactStore, manifest: Manifest, flags: argparse.Namespace, enter: gate.Enter | None = None
) -> None:
    """
    Put the published version into use, unless ``--no-activate`` says otherwise, and say what the gate found.

    Args:
        flags: ``activate``, ``margin`` and ``force``, as `job_parser` reads them.
        enter: What else has to happen with the activation, all or nothing.

    Raises:
        GateRefused: its figures are too low.
        ArtifactCorrupt: it does not load.
        The version in use stays, whatever is raised.
    """
    if not flags.activate:
        say(f"{manifest.kind} {manifest.version} is published")
        return
    verdict = gate.activate(store, manifest.kind, manifest.version, margin=flags.margin, force=flags.force, enter=enter)
    for line in [*(f"{each.metric}: {each.detail}" for each in verdict.judgements), *verdict.remarks]:
        say(line)
    say(f"{manifest.kind} {manifest.version} is active")
