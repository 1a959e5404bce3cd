"""A few searches and recommendations, asked over HTTP and shown as tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx
from rich.console import Console
from rich.table import Table

from cluster.errors import DeployFailed

LIMIT = 5


@dataclass(frozen=True)
class Sample:
    """A request, and in words what it asks for."""

    title: str
    path: str
    parameters: Mapping[str, str] = field(default_factory=dict)


SAMPLES = (
    Sample("Search “space adventure” for user 1", "/v1/search", {"q": "space adventure", "user_id": "1"}),
    Sample("Search “toy story”", "/v1/search", {"q": "toy story"}),
    Sample("Search “a romantic comedy about a wedding”", "/v1/search", {"q": "a romantic comedy about a wedding"}),
    Sample("Recommendations for user 1", "/v1/recommendations", {"user_id": "1"}),
    Sample("Recommendations for user 42", "/v1/recommendations", {"user_id": "42"}),
    Sample("Similar to Star Wars (50)", "/v1/recommendations", {"type": "similar", "product_ids": "50"}),
)


def ask(url: str, sample: Sample, *, timeout_s: float = 30.0) -> dict[str, Any]:
    """
    Return the answer to *sample*, with explanations.

    Raises:
        DeployFailed: it is not 200; the message holds the problem.
    """
    # The first answers come while the machine is still busy with starting.
    parameters = {**sample.parameters, "explain": "true", "limit": str(LIMIT), "timeout_ms": "10000"}
    try:
        response = httpx.get(f"{url}{sample.path}", params=parameters, timeout=timeout_s, trust_env=False)
    except httpx.HTTPError as error:
        raise DeployFailed(f"{sample.title}: {url} does not answer: {error or type(error).__name__}") from error
    if not response.is_success:
        raise DeployFailed(f"{sample.title}: {response.status_code} {response.text[:1000]}")
    answer = response.json()
    assert isinstance(answer, dict)
    return answer


def show(console: Console, sample: Sample, answer: Mapping[str, Any]) -> None:
    """Print one table: each hit with its score, the retrievers that found it, and the reason."""
    title = f"{sample.title}  ({answer['took_ms']} ms)"
    table = Table(title=title, title_justify="left", title_style="bold")
    for name, justify in (("#", "right"), ("score", "right"), ("title", "left"), ("found by", "left"), ("why", "left")):
        table.add_column(name, justify=justify)  # type: ignore[arg-type]
    for hit in answer["hits"]:
        retrievers = (hit.get("explain") or {}).get("retrievers") or {}
        found_by = ", ".join(f"{name} {_place(details)}" for name, details in retrievers.items())
        table.add_row(
            str(hit["rank"]),
            f"{hit['score']:.3f}",
            str((hit.get("product") or {}).get("title", hit["id"])).replace("[", r"\["),
            found_by,
            str((hit.get("reason") or {}).get("code", "")),
        )
    console.print(table)
    if answer.get("degraded"):
        causes = [f"{each['name']}={each['cause']}" for each in answer["stages"] if each.get("cause")]
        console.print(f"  degraded: {', '.join(causes)}", style="yellow")


def _place(details: Any) -> str:  # noqa: ANN401 - whatever the retriever said
    return f"#{details['rank']}" if isinstance(details, Mapping) and "rank" in details else ""
