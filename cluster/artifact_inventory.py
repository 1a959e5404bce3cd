"""What there is of a kind of artifact, as documents that are shown or written as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from artifacts.errors import ArtifactCorrupt, ArtifactError
from artifacts.manifest import ArtifactKind, Manifest
from artifacts.quality import EVALUATIONS, FLOORS
from artifacts.store import ArtifactStore
from cluster.errors import UsageError
from cluster.served_versions import ServedVersions

NAMED_IN_ERRORS = 5
Document = dict[str, Any]


def inventory(store: ArtifactStore, kind: ArtifactKind, served: ServedVersions) -> Document:
    """Return every version of *kind*, oldest first, which is active, was before, is tried, and what is wrong."""
    active, problem = active_of(store, kind)
    before = store.in_use_before(kind)
    on_trial, damaged = trial_of(store, kind)
    return {
        "active": active,
        "before": before[0] if before else None,
        "on_trial": on_trial,
        "problem": problem or damaged,
        "versions": [version_row(store, kind, version, active, served) for version in store.versions(kind)],
    }


def active_of(store: ArtifactStore, kind: ArtifactKind) -> tuple[str | None, str | None]:
    """Return the active version, or None and, where ``ACTIVE`` is damaged, what is wrong."""
    try:
        return store.active_version(kind), None
    except ArtifactCorrupt as error:
        return None, str(error)


def trial_of(store: ArtifactStore, kind: ArtifactKind) -> tuple[str | None, str | None]:
    """Return the version on trial, or None and, where ``TRIAL`` is damaged, what is wrong."""
    try:
        return store.on_trial(kind), None
    except ArtifactCorrupt as error:
        return None, str(error)


def version_row(
    store: ArtifactStore, kind: ArtifactKind, version: str, active: str | None, served: ServedVersions
) -> Document:
    """Return what `list` shows of a version; ``problem`` where its manifest cannot be read."""
    row: Document = {"version": version, "active": version == active, "served_by": served.of(kind).get(version, [])}
    try:
        manifest = store.manifest(kind, version)
    except ArtifactError as error:
        return {**row, "created_at": None, "bytes": None, "metrics": {}, "parent": None, "problem": str(error)}
    return {
        **row,
        "created_at": manifest.created_at.isoformat(),
        "bytes": size_of(manifest),
        "metrics": manifest.metrics,
        "parent": manifest.parent,
        "problem": None,
    }


def size_of(manifest: Manifest) -> int:
    """The bytes of a version's files, its manifest excepted."""
    return sum(file.bytes for file in manifest.files.values())


def judged_metrics(kind: ArtifactKind, metrics: Mapping[str, float]) -> dict[str, float]:
    """Return the figures that the gate looks at; all of them where it looks at none."""
    names = [floor.metric for floor in FLOORS[kind]]
    names += [name for evaluation in EVALUATIONS[kind] for name in evaluation.metrics]
    return {name: metrics[name] for name in names if name in metrics} or dict(metrics)


def manifest_of(store: ArtifactStore, kind: ArtifactKind, version: str | None) -> Manifest:
    """
    Return the manifest of *version*, or of the active one.

    Raises:
        UsageError: there is no such version, or none is active.
        ArtifactCorrupt: the manifest, or ``ACTIVE``, is damaged.
    """
    chosen = version or store.active_version(kind)
    if chosen is None:
        raise UsageError(f"No version of {kind} is active. {_there_are(store.versions(kind))}")
    return store.manifest(kind, known(store, kind, chosen))


def known(store: ArtifactStore, kind: ArtifactKind, version: str) -> str:
    """
    Return *version* if there is such a one.

    Raises:
        UsageError: there is not; the message names some that exist.
    """
    versions = store.versions(kind)
    if version not in versions:
        raise UsageError(f"There is no {kind} {version} in {store.root}. {_there_are(versions)}")
    return version


def difference(one: Manifest, other: Manifest) -> Document:
    """Return what differs between two versions: by group and name, the two values."""
    return {
        "from": one.version,
        "to": other.version,
        "metrics": _differing(one.metrics, other.metrics),
        "counts": _differing(one.counts, other.counts),
        "parameters": _differing(_flat(one.parameters), _flat(other.parameters)),
        "files": _differing(_sizes(one), _sizes(other)),
        "made": _differing(_made(one), _made(other)),
    }


def _there_are(versions: Sequence[str]) -> str:
    if not versions:
        return "There are none; train one."
    newest = ", ".join(reversed(versions[-NAMED_IN_ERRORS:]))
    return f"The latest are: {newest}. All: shortlist artifacts list"


def _differing(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, list[Any]]:
    return {
        name: [one.get(name), other.get(name)]
        for name in dict.fromkeys([*one, *other])
        if one.get(name) != other.get(name)
    }


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested parameters by dotted name."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value
    return flat


def _sizes(manifest: Manifest) -> dict[str, str]:
    return {name: f"{file.bytes:,} bytes, sha256 {file.sha256[:12]}" for name, file in manifest.files.items()}


def _made(manifest: Manifest) -> dict[str, Any]:
    window = manifest.data_window
    return {
        "created_at": manifest.created_at.isoformat(),
        "parent": manifest.parent,
        "encoder": manifest.encoder,
        "dim": manifest.dim,
        "window_start": None if window is None else window.start.isoformat(),
        "window_end": None if window is None else window.end.isoformat(),
    }
