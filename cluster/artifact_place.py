"""Where a command's artifacts lie, and which graph serves them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from artifacts.store import CACHE_VARIABLE, ROOT_VARIABLE, ArtifactStore
from cluster.commands.options import stack_at
from cluster.console import Output
from cluster.errors import NotRunning, UsageError

URL_VARIABLE = "SHORTLIST_URL"


@dataclass(frozen=True)
class ArtifactPlace:
    """A store, and the URL of the graph that serves from it, where one is known to run."""

    store: ArtifactStore
    url: str | None


def artifact_place(output: Output, *, root: str | None, url: str | None, state_dir: Path | None) -> ArtifactPlace:
    """
    Return the store that was named, else the local stack's, else the environment's.

    Raises:
        NotRunning: there is none of them.
        UsageError: *root* is not there.
        ArtifactStoreUnavailable: it cannot be read.
    """
    stack = stack_at(state_dir, output)
    record = stack.record()
    runs = record is not None and record.condition == "ready"
    environment = os.environ.get(ROOT_VARIABLE, "").strip() if state_dir is None else ""
    own = str(stack.state.artifacts)
    if root is None and environment and not runs:
        output.tell(f"Using {ROOT_VARIABLE}")
    there = own if runs or stack.state.artifacts.is_dir() else None
    chosen = root or (own if runs else environment or there)
    if root is not None and "://" not in root and not Path(root).expanduser().exists():
        raise UsageError(f"There is no {root}: name with --root the directory that training wrote to.")
    if chosen is None:
        raise NotRunning(
            f"There are no artifacts in {stack.state.root}. Start a stack with: shortlist up. "
            f"Or name their place with --root or {ROOT_VARIABLE}."
        )
    cache = os.environ.get(CACHE_VARIABLE) or (str(stack.state.artifact_cache) if runs else None)
    store = ArtifactStore(chosen, cache=cache)
    store.require()
    served = record.url if record is not None and runs and _is_same(chosen, stack.state.artifacts) else None
    return ArtifactPlace(store, url or served or os.environ.get(URL_VARIABLE) or None)


def _is_same(root: str, directory: Path) -> bool:
    """Whether *root*, however it is written, is *directory*; a graph that is not asked could lose what it serves."""
    return "://" not in root and Path(root).expanduser().resolve() == directory.resolve()
