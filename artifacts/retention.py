"""Which versions may go, which have to stay, and why."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise

from artifacts.activations import Activation
from artifacts.errors import ArtifactCorrupt, ArtifactError
from artifacts.manifest import ArtifactKind
from artifacts.store import ArtifactStore
from artifacts.tree import ABANDONED_AFTER_S, Leftover

KEPT_HOURS = 24.0
"""The least and the default: so long is a version kept after it was published and after it was last in use."""


@dataclass(frozen=True)
class Removal:
    """A version, or what a killed writer left, that may go."""

    name: str
    bytes: int
    leftover: Leftover | None = None


@dataclass(frozen=True)
class Retention:
    """
    What is to become of a kind's versions.

    Attributes:
        keep: Why each version that stays does.
        remove: What may go, oldest first.
    """

    keep: dict[str, str]
    remove: list[Removal]


def retention(
    store: ArtifactStore,
    kind: ArtifactKind,
    *,
    served: Mapping[str, Collection[str]],
    keep_hours: float = KEPT_HOURS,
    now: datetime | None = None,
) -> Retention:
    """
    Return what may go of *kind*; nothing is removed.

    Args:
        served: Versions that the running graph uses, and which parts of it.
        keep_hours: At least `KEPT_HOURS`.
        now: The present, where it is another one.

    Raises:
        ArtifactCorrupt: ``ACTIVE`` is damaged or gone, or ``TRIAL`` damaged; nobody can tell what is in use.
        ValueError: *keep_hours* is too low.
    """
    if keep_hours < KEPT_HOURS:
        raise ValueError(f"versions are kept for at least {KEPT_HOURS:g} hours")
    moment = now or datetime.now(UTC)
    history, versions = store.history(kind), store.versions(kind)
    active = store.active_version(kind)
    if active is None and history:
        raise ArtifactCorrupt(f"{store.root}/{kind}/ACTIVE is gone. Activate a version, then prune.")
    if active is None:
        return Retention(dict.fromkeys(versions, "none was activated yet"), _abandoned(store, kind, moment, ()))
    needed = {version: f"served by {', '.join(parts)}" for version, parts in served.items()}
    needed |= _needed(store, kind, history, active)
    keep = {}
    for version in versions:
        recent = _recent(_published_at(store, kind, version), left_at(history, version), moment, keep_hours)
        if reason := needed.get(version) or recent:
            keep[version] = reason
    remove = [
        Removal(version, sum(file.bytes for file in store.files(kind, version)))
        for version in versions
        if version not in keep
    ]
    return Retention(keep, [*remove, *_abandoned(store, kind, moment, needed)])


def remove(store: ArtifactStore, kind: ArtifactKind, removal: Removal) -> bool:
    """Remove what `retention` named; False where it is gone, or was activated meanwhile."""
    if removal.leftover is not None:
        store.discard(kind, removal.leftover)
        return True
    withdrawn = store.withdraw(kind, removal.name)
    if withdrawn is None:
        return False
    withdrawn.destroy()
    return True


def left_at(history: Sequence[Activation], version: str) -> datetime | None:
    """When *version* was last replaced; None where it never was."""
    moments = [later.activated_at for before, later in pairwise(history) if before.version == version != later.version]
    moments += [activation.activated_at for activation in history if activation.replaced == version]
    return max(moments, default=None)


def _needed(store: ArtifactStore, kind: ArtifactKind, history: Sequence[Activation], active: str) -> dict[str, str]:
    """The versions that have to stay however old they are, and why."""
    needed = {}
    with suppress(ArtifactError):
        if parent := store.manifest(kind, active).parent:
            needed[parent] = "parent of the active one"
    for replaced in [each.replaced for each in history if each.version == active][-1:]:
        if replaced is not None:
            needed[replaced] = "in use before the active one"
    for version in store.in_use_before(kind)[:1]:
        needed[version] = "a rollback goes to it"
    if tried := store.on_trial(kind):
        needed[tried] = "on trial"
    needed[active] = "active"
    return needed


def _abandoned(store: ArtifactStore, kind: ArtifactKind, now: datetime, needed: Collection[str]) -> list[Removal]:
    """What killed writers left that nobody has written to for a day."""
    return [
        Removal(left.name, left.bytes, left)
        for left in store.leftovers(kind)
        if now.timestamp() - left.modified_at > ABANDONED_AFTER_S and left.name not in needed
    ]


def _published_at(store: ArtifactStore, kind: ArtifactKind, version: str) -> datetime:
    try:
        return store.manifest(kind, version).created_at
    except ArtifactError:
        latest = max((file.modified_at for file in store.files(kind, version)), default=0.0)
        return datetime.fromtimestamp(latest, UTC)


def _recent(published_at: datetime, replaced_at: datetime | None, now: datetime, keep_hours: float) -> str | None:
    """Why a version is too young to go, or None."""
    for verb, moment in (("published", published_at), ("in use until", replaced_at)):
        if moment is not None and (hours := (now - moment).total_seconds() / 3600) <= keep_hours:
            return f"{verb} {hours:.1f} h ago"
    return None
