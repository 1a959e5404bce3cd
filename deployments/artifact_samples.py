"""How the artifacts of a replica are, as samples."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any, get_args

from artifacts.active import ActiveArtifact, Cause
from artifacts.trial_watch import TrialArtifact
from deployments.metrics import Sample


def artifact_samples(*artifacts: ActiveArtifact[Any]) -> Callable[[], Iterator[Sample]]:
    """Return what yields, of each of *artifacts*, whether it is loaded, how old it is and whether one was refused."""

    def samples() -> Iterator[Sample]:
        for artifact in artifacts:
            yield from _samples(artifact)

    return samples


def _samples(artifact: ActiveArtifact[Any]) -> Iterator[Sample]:
    loaded, refused = artifact.current, artifact.refused
    tags: dict[str, str] = {"kind": artifact.kind}
    yield Sample(
        "shortlist_artifact_loaded", "Whether a version is in use: 1 or 0.", float(loaded is not None), tags=tags
    )
    for cause in get_args(Cause):
        yield Sample(
            "shortlist_artifact_refused",
            "Whether the version that ACTIVE names is refused for this cause, a sound one standing in or not: 1 or 0.",
            float(refused is not None and refused.cause == cause),
            tags={**tags, "cause": cause},
        )
    yield Sample(
        "shortlist_artifact_look_seconds",
        "How long the watcher has waited for the artifact store by now; 0 between looks.",
        artifact.looking_s,
        tags=tags,
    )
    if loaded is not None:
        age = datetime.now(UTC) - loaded.manifest.created_at
        yield Sample(
            "shortlist_artifact_age_seconds", "Since the version in use was made.", age.total_seconds(), tags=tags
        )


def failed_samples(watched: TrialArtifact[Any]) -> Callable[[], Iterator[Sample]]:
    """Return what yields how many trials a part has ended that only holds the version."""

    def samples() -> Iterator[Sample]:
        yield failed_sample(watched.kind, watched.ended)

    return samples


def failed_sample(kind: str, count: int) -> Sample:
    """How many trials of *kind* a replica has ended."""
    text = "Trials that this replica ended because their version failed."
    return Sample("shortlist_trials_failed_total", text, count, "total", {"kind": kind})
