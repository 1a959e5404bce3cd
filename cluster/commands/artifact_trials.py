"""``shortlist artifacts shadow``, ``canary``, ``trial`` and ``end``: trying a version before it is activated."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from artifacts.errors import ArtifactCorrupt
from artifacts.manifest import ArtifactKind
from artifacts.quality import MARGIN
from artifacts.trials import TRIED, Mode, Trial
from cluster.artifact_inventory import known
from cluster.artifact_tables import trial_lines, trial_table
from cluster.artifact_trial import trial_document
from cluster.commands.artifact_options import Force, Kind, Margin, Root, Version, opened
from cluster.commands.options import AsJson, StateDir
from cluster.errors import UsageError

SHADOW_SHARE, CANARY_SHARE = 0.05, 0.1
_WHY_NOT: dict[ArtifactKind, str] = {
    "popularity": "one table in Postgres holds it for everyone",
    "encoder": "it answers no request; try embeddings that were made with it",
}
Requests = Annotated[float, typer.Option("--share", min=0.0001, max=1.0, help="Share of requests that are compared.")]
Users = Annotated[float, typer.Option("--share", min=0.0001, max=1.0, help="Share of users who get the version.")]


def shadow(
    kind: Kind,
    version: Version,
    *,
    share: Requests = SHADOW_SHARE,
    root: Root = None,
    state_dir: StateDir = None,
    as_json: AsJson = False,
) -> None:
    """
    Have a version answer a share of the requests too, unseen, and compare; nobody gets its answers.

    It has to match its checksums and to load. `shortlist artifacts trial` shows how its answers differ.
    """
    _begin("shadow", kind, version, share, margin=MARGIN, force=False, root=root, state_dir=state_dir, as_json=as_json)


def canary(
    kind: Kind,
    version: Version,
    *,
    share: Users = CANARY_SHARE,
    margin: Margin = MARGIN,
    force: Force = False,
    root: Root = None,
    state_dir: StateDir = None,
    as_json: AsJson = False,
) -> None:
    """
    Give a version to a share of the users, always the same ones; it is taken back by itself where it fails.

    It has to pass the gate as for `activate`; otherwise the exit code is 10. Where it fails a request, the active
    version answers that.
    """
    _begin("canary", kind, version, share, margin=margin, force=force, root=root, state_dir=state_dir, as_json=as_json)


def trial(kind: Kind, root: Root = None, state_dir: StateDir = None, as_json: AsJson = False) -> None:
    """Show the trial in force, or the last one: what all replicas saw of it, up to five seconds ago, and its end."""
    _require_tried(kind)
    with opened(root, None, state_dir, as_json) as (output, place):
        document = trial_document(place.store, kind)
        output.answer(document)
        if as_json:
            return
        if document["problem"]:
            output.tell(f"! {document['problem']}")
        if document["trial"] is None:
            output.result.print(f"{kind}: no version was tried yet", highlight=False)
            return
        for line in trial_lines(kind, document):
            output.result.print(line, highlight=False, markup=False)
        if document["replicas"]:
            output.result.print(trial_table(document))


def end(kind: Kind, root: Root = None, state_dir: StateDir = None, as_json: AsJson = False) -> None:
    """End the trial in force; within about a second the active version answers everyone."""
    _require_tried(kind)
    with opened(root, None, state_dir, as_json) as (output, place):
        trials = place.store.trials(kind)
        current = trials.current()
        if current is None:
            raise UsageError(f"No version of {kind} is on trial. The last one: shortlist artifacts trial {kind}")
        ended = trials.end(current.id, "by hand")
        output.tell(f"the {current.mode} of {kind} {current.version} {'is' if ended else 'was already'} ended")
        output.answer({"kind": kind, "trial": current.model_dump(mode="json"), "ended": ended})


def _begin(
    mode: Mode,
    kind: ArtifactKind,
    version: str,
    share: float,
    *,
    margin: float,
    force: bool,
    root: str | None,
    state_dir: Path | None,
    as_json: bool,
) -> None:
    _require_tried(kind)
    with opened(root, None, state_dir, as_json) as (output, place):
        from artifacts import gate  # noqa: PLC0415  a second of imports

        store = place.store
        known(store, kind, version)
        try:
            active = store.active_version(kind)
        except ArtifactCorrupt as error:
            raise UsageError(f"{error} A trial needs one to compare with.") from error
        if active in (None, version):
            why = "There is no active version to compare with" if active is None else f"{version} is the active version"
            raise UsageError(f"{why}. Choose another: shortlist artifacts list {kind}")
        begun = Trial.begun(mode, version, share)
        verdict = gate.try_out(store, kind, begun, margin=margin, force=force)
        whom = "of requests are asked twice" if mode == "shadow" else "of users get it"
        output.tell(f"the {mode} of {kind} {version} has begun: {share:.4g} {whom}")
        for each in verdict.judgements:
            output.tell(f"{'ok' if each.passed else 'too low'}  {each.metric}: {each.detail}")
        output.answer({"kind": kind, "trial": begun.model_dump(mode="json"), "compared_with": active})


def _require_tried(kind: ArtifactKind) -> None:
    """
    Return if replicas can hold a second version of *kind*.

    Raises:
        UsageError: they cannot.
    """
    if kind not in TRIED:
        raise UsageError(f"{kind} cannot be tried: {_WHY_NOT[kind]}. Tried are {' and '.join(TRIED)}.")
