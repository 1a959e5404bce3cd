"""
Put a version into use, or look at what there is: ``python -m training.activate collaborative [version]``.

Rolling back is activating an earlier version; a popularity version's rows go back to Postgres with it.
"""

from __future__ import annotations

import argparse
import asyncio

from artifacts.errors import ArtifactCorrupt
from artifacts.manifest import KINDS, ArtifactKind
from artifacts.popularity_table import PopularityTable
from artifacts.store import ArtifactStore
from storage.settings import StorageSettings
from training.arguments import job_parser, run_job, store_at
from training.popularity_rows import put_into_use
from training.progress import conclude, say


def activate(store: ArtifactStore, kind: ArtifactKind, version: str) -> None:
    """
    Verify *version* and make it the active one; serving follows within about a second.

    Raises:
        ArtifactMissing, ArtifactCorrupt: the version in use stays.
    """
    if kind == "popularity":
        table = PopularityTable.load(store.fetch(kind, version))
        database_url = StorageSettings.from_environment().database_url
        asyncio.run(put_into_use(database_url, store, store.manifest(kind, version), table))
    else:
        store.activate(kind, version)


def show(store: ArtifactStore, kind: ArtifactKind) -> None:
    """Print the versions of *kind*, oldest first, with their metrics; the active one is marked."""
    active = None
    try:
        active = store.active_version(kind)
    except ArtifactCorrupt as error:
        print(f"! {error}")
    for version in store.versions(kind):
        try:
            metrics = " ".join(f"{name}={value:g}" for name, value in store.manifest(kind, version).metrics.items())
        except ArtifactCorrupt as error:
            metrics = str(error)
        print(f"{'*' if version == active else ' '} {version}  {metrics}")


def run(flags: argparse.Namespace) -> None:
    """Show or activate, as the flags say."""
    store = store_at(flags.root)
    if flags.version is None:
        show(store, flags.kind)
        return
    activate(store, flags.kind, flags.version)
    say(f"{flags.kind} {flags.version} is active")
    conclude(store.manifest(flags.kind, flags.version))


def main() -> None:
    """Read the flags, then show or activate."""
    parser = job_parser("training.activate", "Put a version into use; without one, list the versions.", publishes=False)
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("version", nargs="?", help="as the list without it shows")
    flags = parser.parse_args()
    run_job(lambda: run(flags))


if __name__ == "__main__":
    main()
