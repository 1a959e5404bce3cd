"""Which versions the running graph uses, as its ``/health`` tells it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import httpx

from cluster.serving_artifacts import TIMEOUT_S, statuses

ASKED = 4
"""So often is the graph asked: each time another replica of a part may answer."""


@dataclass(frozen=True)
class ServedVersions:
    """
    What the graph said.

    Attributes:
        url: Where it was asked; None where no graph is known.
        parts: By kind and version, the parts of the graph that use it.
        problem: Why not all is known; None where it is.
    """

    url: str | None = None
    parts: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    problem: str | None = None

    @classmethod
    def asked(cls, url: str | None) -> ServedVersions:
        """Ask the graph at *url* a few times, for replicas may differ."""
        if url is None:
            return cls(problem="No graph is known to run here; name one with --url or SHORTLIST_URL")
        found: dict[str, dict[str, set[str]]] = {}
        problem = None
        for _ in range(ASKED):
            try:
                answer = httpx.get(f"{url.rstrip('/')}/health", timeout=TIMEOUT_S, trust_env=False).json()
                problem = _note(answer["deployments"], found) or problem
            except (httpx.HTTPError, httpx.InvalidURL, ValueError, KeyError, TypeError, AttributeError) as error:
                problem = f"The graph at {url} does not answer as it should: {error or type(error).__name__}"
                break
        parts = {
            kind: {version: sorted(names) for version, names in sorted(versions.items())}
            for kind, versions in found.items()
        }
        return cls(url, parts, problem)

    def of(self, kind: str) -> dict[str, list[str]]:
        """The versions of *kind* in use, and by which parts."""
        return self.parts.get(kind, {})

    def document(self) -> dict[str, Any]:
        """For ``--json``."""
        return {"url": self.url, "served": self.parts, "problem": self.problem}


def _note(deployments: dict[str, Any], found: dict[str, dict[str, set[str]]]) -> str | None:
    """Add to *found* what *deployments* say; return which of them say nothing."""
    silent = []
    for kind, part, status in statuses(deployments):
        if version := status.get("version"):
            found.setdefault(kind, {}).setdefault(version, set()).add(part)
        elif "refused" not in status:
            silent.append(part)
    return f"{', '.join(dict.fromkeys(silent))} cannot be asked what it uses" if silent else None
