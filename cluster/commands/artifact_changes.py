"""``shortlist artifacts activate``, ``rollback`` and ``prune``: what changes which versions there are and are used."""

from __future__ import annotations

from typing import Any

from artifacts.errors import ArtifactCorrupt, GateRefused
from artifacts.manifest import KINDS, ArtifactKind
from artifacts.quality import MARGIN
from artifacts.retention import KEPT_HOURS, Removal, remove, retention
from cluster.artifact_inventory import known
from cluster.artifact_place import ArtifactPlace
from cluster.artifact_tables import size_text
from cluster.commands.artifact_options import (
    AnyKind,
    DryRun,
    Force,
    KeepHours,
    Kind,
    Margin,
    Root,
    Unasked,
    Url,
    Version,
    opened,
    tell_of,
)
from cluster.commands.options import AsJson, StateDir
from cluster.console import Output
from cluster.errors import ClusterError, VersionRefused
from cluster.served_versions import ServedVersions


def activate(
    kind: Kind,
    version: Version,
    *,
    margin: Margin = MARGIN,
    force: Force = False,
    dry_run: DryRun = False,
    root: Root = None,
    state_dir: StateDir = None,
    as_json: AsJson = False,
) -> None:
    """
    Put a version into use if it passes the gate; serving follows within about a second.

    It has to match its checksums and to load as serving loads it; an index has to find enough of what exact search
    finds; and no figure may be below the active version's by more than the margin, where both were measured the same
    way. Otherwise the version in use stays and the exit code is 10. popularity's rows in Postgres go with it.
    """
    with opened(root, None, state_dir, as_json) as (output, place):
        # A second of imports that looking at versions need not wait for.
        from artifacts import gate  # noqa: PLC0415
        from cluster.artifact_entry import entry_of  # noqa: PLC0415

        known(place.store, kind, version)
        if dry_run:
            verdict = gate.judge(place.store, kind, version, margin=margin)
            _tell_verdict(output, verdict)
            if verdict.refusals and not force:
                raise GateRefused(kind, version, verdict.refusals)
            output.tell(f"{kind} {version} would be put into use")
        else:
            enter = entry_of(kind, output, state_dir)
            verdict = gate.activate(place.store, kind, version, margin=margin, force=force, enter=enter)
            _tell_verdict(output, verdict)
            output.tell(f"{kind} {version} is active")
        output.answer(_activated(verdict, dry_run=dry_run))


def rollback(kind: Kind, root: Root = None, state_dir: StateDir = None, as_json: AsJson = False) -> None:
    """
    Put the version into use that was in use before the present one; once more goes one further back.

    It has to match its checksums and to load; figures do not count. Where ACTIVE is damaged, it goes to the version in
    use last. Exit code 10 when that cannot be used any more; the message names others.
    """
    with opened(root, None, state_dir, as_json) as (output, place):
        from artifacts import gate  # noqa: PLC0415
        from cluster.artifact_entry import entry_of  # noqa: PLC0415

        before = place.store.in_use_before(kind)
        if not before:
            raise VersionRefused(
                f"No version of {kind} was in use before this one that is still there. "
                f"Choose one: shortlist artifacts list {kind}, then shortlist artifacts activate {kind} VERSION"
            )
        try:
            verdict = gate.roll_back(place.store, kind, before[0], enter=entry_of(kind, output, state_dir))
        except ArtifactCorrupt as error:
            others = f" In use earlier: {', '.join(before[1:4])}." if before[1:] else ""
            raise VersionRefused(f"{error}{others}") from error
        output.tell(f"{kind} {before[0]} is active again")
        output.answer(_activated(verdict, dry_run=False))


def prune(
    kind: AnyKind = None,
    *,
    keep_hours: KeepHours = KEPT_HOURS,
    dry_run: DryRun = False,
    unasked: Unasked = False,
    root: Root = None,
    url: Url = None,
    state_dir: StateDir = None,
    as_json: AsJson = False,
) -> None:
    """
    Remove old versions, and what killed uploads left for more than a day; say how many bytes that frees.

    Never the active version, the one in use before it, its parent, the one that a rollback goes to, nor one that the
    running graph uses; and nothing that was published, or was in use, within --keep-hours.
    """
    with opened(root, url, state_dir, as_json) as (output, place):
        served = ServedVersions() if unasked else ServedVersions.asked(place.url)
        if served.url is not None and served.problem is not None:
            raise ClusterError(f"{served.problem}. Nothing was removed. Repair it, or prune with --unasked.")
        kinds = {
            each: _pruned(place, each, served, keep_hours=keep_hours, dry_run=dry_run, output=output)
            for each in ([kind] if kind else KINDS)
        }
        freed = sum(each["bytes"] for document in kinds.values() for each in document["removed"])
        output.tell(f"{size_text(freed)} {'would be freed' if dry_run else 'freed'}")
        if not unasked:
            tell_of(served, output)
        output.answer({"root": place.store.root, "dry_run": dry_run, "bytes_freed": freed, "kinds": kinds})


def _pruned(
    place: ArtifactPlace,
    kind: ArtifactKind,
    served: ServedVersions,
    *,
    keep_hours: float,
    dry_run: bool,
    output: Output,
) -> dict[str, Any]:
    """Remove what may go of *kind*; a kind whose ``ACTIVE`` is damaged stays as it is."""
    try:
        found = retention(place.store, kind, served=served.of(kind), keep_hours=keep_hours)
    except ArtifactCorrupt as error:
        output.tell(f"! {kind} stays as it is: {error}")
        return {"removed": [], "kept": {}, "problem": str(error)}
    removed: list[Removal] = []
    for each in found.remove:
        if dry_run or remove(place.store, kind, each):
            removed.append(each)
            what = "left by an upload that was cut off" if each.leftover else "a version"
            output.tell(f"{kind} {each.name}  {size_text(each.bytes)}, {what}")
    for version, reason in found.keep.items():
        output.tell(f"{kind} {version}  stays: {reason}")
    return {
        "removed": [
            {"name": each.name, "bytes": each.bytes, "leftover": each.leftover is not None} for each in removed
        ],
        "kept": found.keep,
        "problem": None,
    }


def _activated(verdict: Any, *, dry_run: bool) -> dict[str, Any]:  # noqa: ANN401  its type is imported late
    return {
        "kind": verdict.manifest.kind,
        "version": verdict.manifest.version,
        "activated": not dry_run,
        "compared_with": verdict.against,
        "figures": [
            {"metric": each.metric, "passed": each.passed, "detail": each.detail} for each in verdict.judgements
        ],
        "overruled": verdict.refusals,
        "remarks": verdict.remarks,
    }


def _tell_verdict(output: Output, verdict: Any) -> None:  # noqa: ANN401  same
    output.tell("it matches its checksums and loads")
    for each in verdict.judgements:
        output.tell(f"{'ok' if each.passed else 'too low'}  {each.metric}: {each.detail}")
    for remark in verdict.remarks:
        output.tell(remark)
