"""What there is to say of the trials of a kind, as a document that is shown or written as JSON."""

from __future__ import annotations

from artifacts.errors import ArtifactCorrupt
from artifacts.manifest import ArtifactKind
from artifacts.store import ArtifactStore
from artifacts.trial_figures import summed
from artifacts.trials import Ending, Trial
from cluster.artifact_inventory import Document


def trial_document(store: ArtifactStore, kind: ArtifactKind) -> Document:
    """Return the last trial of *kind*, whether it is in force, what replicas saw of it, and the trials before."""
    trials, problem = store.trials(kind), None
    try:
        current = trials.current()
    except ArtifactCorrupt as error:
        current, problem = None, str(error)
    recent = trials.recent()
    last, ending = recent[-1] if recent else (None, None)
    reports = [] if last is None else trials.reports(last.id)
    return {
        "kind": kind,
        "trial": None if last is None else last.model_dump(mode="json"),
        "in_force": current is not None and last is not None and current.id == last.id,
        "ending": None if ending is None else ending.model_dump(mode="json"),
        "replicas": len(reports),
        "figures": summed(reports).report(),
        "earlier": [_earlier(trial, its_end) for trial, its_end in recent[:-1]],
        "problem": problem,
    }


def _earlier(trial: Trial, ending: Ending | None) -> Document:
    return {**trial.model_dump(mode="json"), "ending": None if ending is None else ending.model_dump(mode="json")}
