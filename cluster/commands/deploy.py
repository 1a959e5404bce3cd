"""``shortlist deploy``: bring up a Serve application."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from cluster.application import DEFAULT_CONFIG, listening_at, read_config, spread, wait_http
from cluster.application import deploy as deploy_application
from cluster.commands.options import Address, AsJson, StateDir, stack_at
from cluster.console import Output
from cluster.local_stack import LocalStack
from cluster.ray_api import RayApi, token_from_environment
from cluster.record import WORKER

Config = Annotated[Path | None, typer.Argument(help="Serve configuration [default: configs/serve_local.yaml].")]
Timeout = Annotated[float, typer.Option("--timeout", help="Most seconds to wait until every application runs.")]

TIMEOUT_S = 300.0


def deploy(
    config: Config = None,
    state_dir: StateDir = None,
    address: Address = None,
    timeout: Timeout = TIMEOUT_S,
    as_json: AsJson = False,
) -> None:
    """Deploy a Serve configuration and wait until it runs: on the local stack, or on the cluster at --address."""
    output = Output(as_json=as_json)
    path = config or DEFAULT_CONFIG
    if address is None:
        stack = stack_at(state_dir, output)
        url: str | None = deploy_locally(output, stack, path, timeout_s=timeout)
    else:
        document = read_config(path)
        api = RayApi(address, token_from_environment())
        with output.step(f"deploy {path.name}") as progress:
            deploy_application(api, document, timeout_s=timeout, follow=progress.say)
        url = None
    output.answer({"config": str(path), "status": "RUNNING", "url": url, "seconds": output.seconds})


def deploy_locally(output: Output, stack: LocalStack, path: Path, *, timeout_s: float = TIMEOUT_S) -> str:
    """Deploy the configuration at *path* on the local serving cluster, at the stack's HTTP address; return its URL."""
    record = stack.running()
    api = stack.serving()
    document = listening_at(read_config(path), record.http_host, record.http_port)
    document = spread(document, nodes=1 + sum(name.startswith(WORKER) for name in record.parts))
    with output.step(f"deploy {path.name}") as progress:
        deploy_application(api, document, timeout_s=timeout_s, follow=progress.say)
        # What the supervisor deploys again when it has to start the cluster again.
        stack.state.serve_config.write_text(json.dumps(document, indent=1))
        wait_http(record.url, path="/-/healthz", timeout_s=120.0, follow=progress.say)
    return record.url
