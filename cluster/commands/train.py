"""``shortlist train``: run training jobs on the training cluster."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Annotated

import typer

from cluster.commands.options import Address, AsJson, StateDir, stack_at
from cluster.console import Output
from cluster.errors import UsageError
from cluster.ray_api import RayApi, token_from_environment
from cluster.training_run import BY_NAME_ONLY, JOBS, TrainingResult
from cluster.training_run import train as train_one

KNOWN = (*JOBS, *BY_NAME_ONLY)

Jobs = Annotated[
    list[str] | None,
    typer.Argument(help=f"Any of {', '.join(KNOWN)} [default: the first three, in this order]."),
]


def train(jobs: Jobs = None, state_dir: StateDir = None, address: Address = None, as_json: AsJson = False) -> None:
    """Submit training jobs as Ray jobs, follow them, and show the version and metrics of what each published."""
    output = Output(as_json=as_json)
    chosen = tuple(jobs or JOBS)
    unknown = set(chosen) - set(KNOWN)
    if unknown:
        raise UsageError(f"No such training job: {', '.join(sorted(unknown))}. There are {', '.join(KNOWN)}.")
    arguments: dict[str, list[str]] = {}
    if address:
        api = RayApi(address, token_from_environment())
    else:
        stack = stack_at(state_dir, output)
        api = stack.training()
        if stack.state.serve_config.exists():
            # The weights in use are those that were deployed last.
            arguments = {job: [f"--serve-file={stack.state.serve_config}"] for job in ("weights", "pipeline")}
    results = train_with_progress(output, api, chosen, arguments)
    output.answer(
        {
            "jobs": [
                {"job": each.job, "submission_id": each.submission_id, "seconds": each.seconds, **each.result}
                for each in results
            ]
        }
    )


def train_with_progress(
    output: Output, api: RayApi, jobs: Sequence[str], arguments: Mapping[str, Sequence[str]] = MappingProxyType({})
) -> list[TrainingResult]:
    """Run *jobs* one after the other, each with its *arguments*, show what they print, and return their results."""
    results = []
    for job in jobs:
        with output.step(f"train {job}") as progress:
            result = train_one(api, job, follow=progress.say, arguments=arguments.get(job, ()))
        metrics = result.result.get("metrics") or {}
        described = ", ".join(
            f"{name} {value:.4f}" if isinstance(value, float) else f"{name} {value}" for name, value in metrics.items()
        )
        output.tell(f"  {result.result.get('kind', job)} {result.result.get('version', '?')}  {described}")
        for line in (result.result.get(name) for name in ("why", "path")):
            if line:
                output.tell(f"  {line}")
        results.append(result)
    return results
