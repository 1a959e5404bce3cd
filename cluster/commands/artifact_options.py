"""What the commands below ``shortlist artifacts`` share: their options, and how they open the artifacts' place."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from artifacts.errors import ArtifactConflict, ArtifactCorrupt, ArtifactError, ArtifactMissing, GateRefused
from artifacts.manifest import KINDS, ArtifactKind
from artifacts.retention import KEPT_HOURS
from cluster.artifact_place import ArtifactPlace, artifact_place
from cluster.console import Output
from cluster.errors import ClusterError, UsageError, VersionRefused
from cluster.served_versions import ServedVersions
from storage.errors import StorageError

Kind = Annotated[ArtifactKind, typer.Argument(help=f"One of {', '.join(KINDS)}.", show_default=False)]
AnyKind = Annotated[ArtifactKind | None, typer.Argument(help=f"One of {', '.join(KINDS)} (default: all).")]
Version = Annotated[str, typer.Argument(help="As `list` shows it.", show_default=False)]
SomeVersion = Annotated[str | None, typer.Argument(help="As `list` shows it (default: the active one).")]
Root = Annotated[
    str | None, typer.Option("--root", help="Where artifacts lie: a directory, or a URI such as s3://bucket/prefix.")
]
Url = Annotated[
    str | None,
    typer.Option("--url", help="The graph that serves (default: the local stack's if it runs, else $SHORTLIST_URL)."),
]
Margin = Annotated[
    float, typer.Option("--margin", min=0.0, max=1.0, help="Share of the active version's figure that may be missing.")
]
Force = Annotated[
    bool,
    typer.Option("--force", help="Overrule the figures; the history says so. What does not load is refused still."),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")]
KeepHours = Annotated[
    float,
    typer.Option(
        "--keep-hours",
        min=KEPT_HOURS,
        help="Keep what was published, or was in use, within so many hours; at least the default.",
    ),
]
Unasked = Annotated[bool, typer.Option("--unasked", help="Do not ask the graph what it serves; ACTIVE alone counts.")]


@contextlib.contextmanager
def opened(
    root: str | None, url: str | None, state_dir: Path | None, as_json: bool
) -> Iterator[tuple[Output, ArtifactPlace]]:
    """Open the artifacts' place; what goes wrong with them ends the command with advice."""
    output = Output(as_json=as_json)
    try:
        yield output, artifact_place(output, root=root, url=url, state_dir=state_dir)
    except (GateRefused, ArtifactCorrupt) as error:
        raise VersionRefused(str(error)) from error
    except (ArtifactMissing, ArtifactConflict) as error:
        raise UsageError(str(error)) from error
    except (ArtifactError, StorageError) as error:
        raise ClusterError(str(error)) from error


def tell_of(served: ServedVersions, output: Output) -> None:
    """Say so where not all is known of what the graph serves."""
    if served.problem is not None:
        output.tell(f"{served.problem}; who serves what is not known" + (" in full." if served.parts else "."))
