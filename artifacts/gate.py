"""
The gate that a version passes before it is put into use: it loads, and its figures are not worse.

Training jobs and `shortlist artifacts` go through the same one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from artifacts.activations import Action
from artifacts.embedding_index import EmbeddingIndex
from artifacts.encoder import OnnxEncoder
from artifacts.errors import ArtifactCorrupt, ArtifactError, GateRefused
from artifacts.factors import Factors
from artifacts.loading import load_or_refuse
from artifacts.manifest import ArtifactKind, Manifest
from artifacts.popularity_table import PopularityTable
from artifacts.quality import MARGIN, Judgement, against_active, against_floors
from artifacts.store import ArtifactStore
from artifacts.trials import Trial

LOADERS: dict[ArtifactKind, Callable[[Path, Manifest], object]] = {
    "embeddings": EmbeddingIndex.load,
    "collaborative": Factors.load,
    "popularity": lambda directory, _: PopularityTable.load(directory),
    "encoder": lambda directory, _: OnnxEncoder(directory),
}
"""How each kind is loaded; `encoder` by the embeddings job, the others by serving."""

Enter = Callable[[Manifest, object, Callable[[], None]], None]
"""Called with the version's manifest, what was loaded, and what activates it."""


@dataclass(frozen=True)
class Verdict:
    """
    What the gate found of a version that loads and matches its checksums.

    Attributes:
        against: The active version it was compared with; None where none can be.
    """

    manifest: Manifest
    value: object = field(repr=False)
    against: str | None
    judgements: list[Judgement]
    remarks: list[str]

    @property
    def refusals(self) -> list[str]:
        """What speaks against it, with the figures."""
        return [f"{each.metric}: {each.detail}" for each in self.judgements if not each.passed]


def judge(store: ArtifactStore, kind: ArtifactKind, version: str, *, margin: float = MARGIN) -> Verdict:
    """
    Load *version* as serving does and hold its figures against the floors and the active version.

    Raises:
        ArtifactMissing, ArtifactCorrupt, ArtifactStoreUnavailable: there is nothing to judge.
    """
    directory = store.fetch(kind, version, anew=True)
    manifest = store.manifest(kind, version)
    value = load_or_refuse(LOADERS[kind], directory, manifest)
    active, remarks = _comparable(store, kind, version)
    judgements = list(against_floors(manifest))
    if active is not None:
        compared = list(against_active(manifest, active, margin))
        trouble = _trouble(store, active) if any(not each.passed for each in compared) else None
        if trouble is not None:
            remarks.append(f"not compared with {active.version}, which cannot be used: {trouble}")
            compared, active = [], None
        judgements += compared
    return Verdict(manifest, value, active.version if active else None, judgements, remarks)


def activate(
    store: ArtifactStore,
    kind: ArtifactKind,
    version: str,
    *,
    margin: float = MARGIN,
    force: bool = False,
    enter: Enter | None = None,
) -> Verdict:
    """
    Put *version* into use if the gate lets it pass; serving follows within about a second.

    Args:
        margin: The share of an active figure that may be missing.
        force: Overrule the figures, and write that down. What does not load is refused all the same.
        enter: What else has to happen with the activation, all or nothing.

    Raises:
        GateRefused: its figures do not do.
        ArtifactMissing, ArtifactCorrupt, ArtifactStoreUnavailable: it cannot be used.
        The version in use stays, whatever is raised.
    """
    verdict = judge(store, kind, version, margin=margin)
    if verdict.refusals and not force:
        raise GateRefused(kind, version, verdict.refusals)
    _enter(store, verdict, "activate", verdict.refusals, enter)
    return verdict


def try_out(
    store: ArtifactStore, kind: ArtifactKind, trial: Trial, *, margin: float = MARGIN, force: bool = False
) -> Verdict:
    """
    Put *trial* in force if its version loads; one that users get, a canary, has to pass the gate too.

    Raises:
        GateRefused: it is a canary, and its figures do not do.
        ArtifactMissing, ArtifactCorrupt, ArtifactStoreUnavailable: it cannot be used.
        No trial was begun, whatever is raised.
    """
    verdict = judge(store, kind, trial.version, margin=margin)
    if verdict.refusals and trial.mode == "canary" and not force:
        raise GateRefused(kind, trial.version, verdict.refusals)
    trials = store.trials(kind)
    try:
        before = trials.current()
    except ArtifactCorrupt:
        before = None
    trials.begin(trial)
    if before is not None:
        trials.end(before.id, f"the {trial.mode} of {trial.version} took its place")
    try:
        store.manifest(kind, trial.version)
    except ArtifactError:
        # Pruned in the same moment; `withdraw` looks at TRIAL after it has hidden a version.
        trials.end(trial.id, "its version was removed", failed=True)
        raise
    return verdict


def roll_back(store: ArtifactStore, kind: ArtifactKind, version: str, *, enter: Enter | None = None) -> Verdict:
    """
    Put *version*, one that was in use before, into use again.

    It has to load; its figures do not count, for it may be just the better figures that deceived.

    Raises:
        ArtifactMissing, ArtifactCorrupt, ArtifactStoreUnavailable: it cannot be used; the version in use stays.
    """
    verdict = judge(store, kind, version)
    _enter(store, verdict, "rollback", (), enter)
    return verdict


def _enter(
    store: ArtifactStore, verdict: Verdict, action: Action, overruled: list[str] | tuple[()], enter: Enter | None
) -> None:
    manifest = verdict.manifest

    def put_into_use() -> None:
        store.activate(manifest.kind, manifest.version, action=action, overruled=overruled)

    if enter is None:
        put_into_use()
    else:
        enter(manifest, verdict.value, put_into_use)


def _comparable(store: ArtifactStore, kind: ArtifactKind, version: str) -> tuple[Manifest | None, list[str]]:
    """The manifest of the active version, another one than *version*; or None, and why."""
    try:
        active = store.active_version(kind)
        if active is None or active == version:
            return None, []
        return store.manifest(kind, active), []
    except ArtifactError as error:
        return None, [f"not compared with the active version: {error}"]


def _trouble(store: ArtifactStore, manifest: Manifest) -> str | None:
    """What keeps the active version from use: one that is lost must not keep a sound one out."""
    try:
        load_or_refuse(LOADERS[manifest.kind], store.fetch(manifest.kind, manifest.version, anew=True), manifest)
    except ArtifactError as error:
        return str(error)
    return None
