"""``shortlist artifacts``: the versions that training made, and which of them is in use."""

from __future__ import annotations

import typer

from artifacts.manifest import KINDS
from cluster.artifact_inventory import active_of, difference, inventory, manifest_of
from cluster.artifact_tables import difference_table, history_lines, manifest_lines, versions_table
from cluster.commands.artifact_changes import activate, prune, rollback
from cluster.commands.artifact_options import AnyKind, Kind, Root, SomeVersion, Url, Version, opened, tell_of
from cluster.commands.artifact_trials import canary, end, shadow, trial
from cluster.commands.options import AsJson, StateDir
from cluster.served_versions import ServedVersions

artifacts = typer.Typer(
    help=(
        "The versions that training made: look at them, compare them, try one, put one into use, go back, remove old "
        "ones.\n\n"
        "They lie in --root, else in the local stack's directory if it runs, else in $SHORTLIST_ARTIFACTS. "
        "Which version is in use is a small file there, ACTIVE; serving follows it within about a second."
    ),
    no_args_is_help=True,
)


@artifacts.command("list")
def list_versions(
    kind: AnyKind = None, root: Root = None, url: Url = None, state_dir: StateDir = None, as_json: AsJson = False
) -> None:
    """
    Show every version: when it was published, its size, figures and parent, and which parts of the graph use it.

    * marks the active version, < the one that a rollback goes to, ~ the one on trial.
    """
    with opened(root, url, state_dir, as_json) as (output, place):
        served = ServedVersions.asked(place.url)
        kinds = {each: inventory(place.store, each, served) for each in ([kind] if kind else KINDS)}
        output.answer({"root": place.store.root, "graph": served.document(), "kinds": kinds})
        if as_json:
            return
        for each, document in kinds.items():
            if document["versions"]:
                output.result.print(versions_table(each, document))
            else:
                output.result.print(f"{each}: no versions", highlight=False)
            if document["problem"]:
                output.tell(f"! {document['problem']}")
        tell_of(served, output)


@artifacts.command()
def show(
    kind: Kind,
    version: SomeVersion = None,
    *,
    root: Root = None,
    url: Url = None,
    state_dir: StateDir = None,
    as_json: AsJson = False,
) -> None:
    """Show all of a version: what it was made from and with, its figures and files; and when which one was in use."""
    with opened(root, url, state_dir, as_json) as (output, place):
        manifest = manifest_of(place.store, kind, version)
        served = ServedVersions.asked(place.url)
        active, _ = active_of(place.store, kind)
        history = place.store.history(kind)
        users = served.of(kind).get(manifest.version, [])
        output.answer(
            {
                **manifest.model_dump(mode="json"),
                "active": active == manifest.version,
                "served_by": users,
                "history": [each.model_dump(mode="json") for each in history],
            }
        )
        if as_json:
            return
        lines = [("active", "yes" if active == manifest.version else f"no, {active or 'none'} is")]
        lines += [("served by", ", ".join(users))] if users else []
        output.result.print(f"{kind} {manifest.version}", highlight=False)
        for name, value in [*lines, *manifest_lines(manifest)]:
            output.result.print(f"  {name}: {value}", highlight=False, markup=False)
        for line in history_lines(history):
            output.result.print(line, highlight=False, markup=False)
        tell_of(served, output)


@artifacts.command()
def diff(
    kind: Kind,
    version: Version,
    other: SomeVersion = None,
    *,
    root: Root = None,
    state_dir: StateDir = None,
    as_json: AsJson = False,
) -> None:
    """Show in what VERSION differs from OTHER: figures, counts, parameters, data window, files."""
    with opened(root, None, state_dir, as_json) as (output, place):
        document = difference(manifest_of(place.store, kind, other), manifest_of(place.store, kind, version))
        output.answer({"kind": kind, **document})
        if not as_json:
            output.result.print(difference_table(document))


for command in (activate, rollback, shadow, canary, trial, end, prune):
    artifacts.command()(command)
