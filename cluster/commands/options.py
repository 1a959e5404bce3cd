"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cluster.console import Output
from cluster.errors import UsageError
from cluster.local_stack import LocalStack
from cluster.ports import require_free
from cluster.stack_options import ALL_PARTS, Part, StackOptions
from cluster.state_directory import locate

StateDir = Annotated[
    Path | None,
    typer.Option(
        "--state-dir",
        help="Holds everything of this stack (default: $SHORTLIST_STATE_DIR, or .shortlist in the checkout).",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Write one JSON document to stdout, and all else to stderr.")]
Detach = Annotated[bool, typer.Option("--detach", help="Return once it is ready; end it with: shortlist down")]
Host = Annotated[str, typer.Option("--host", help="Address that the HTTP port listens on.")]
HttpPort = Annotated[int, typer.Option("--http-port", min=0, max=65535, help="HTTP port; 0 takes any free one.")]
DashboardPort = Annotated[
    int, typer.Option("--dashboard-port", min=0, max=65535, help="Serving cluster's dashboard; 0 takes any free port.")
]
TrainingDashboardPort = Annotated[
    int,
    typer.Option(
        "--training-dashboard-port", min=0, max=65535, help="Training cluster's dashboard; 0 takes any free port."
    ),
]
Only = Annotated[
    str, typer.Option("--only", hidden=True, help=f"Parts to run, separated by commas: {', '.join(ALL_PARTS)}")
]
Workers = Annotated[
    int,
    typer.Option(
        "--workers",
        min=0,
        max=8,
        help="Ray nodes beside the head of the serving cluster; the replicas of a deployment are spread over all.",
    ),
]
Synchronous = Annotated[
    bool,
    typer.Option(
        "--synchronous",
        help="Acknowledge a write only when the read replica has it too; without the replica, writes wait.",
    ),
]
Address = Annotated[
    str | None,
    typer.Option(
        help="Dashboard of another Ray cluster, http://host:8265. Its token: $RAY_AUTH_TOKEN or $RAY_AUTH_TOKEN_PATH."
    ),
]


def stack_at(state_dir: Path | None, output: Output) -> LocalStack:
    """Return the stack of this call's state directory, and tell where it is when that is a surprise."""
    state, notice = locate(state_dir)
    if notice:
        output.tell(notice)
    return LocalStack(state)


def stack_options(
    stack: LocalStack,
    *,
    host: str,
    http_port: int,
    dashboard_port: int,
    training_dashboard_port: int,
    only: str = "",
    synchronous: bool = False,
    workers: int = 0,
) -> StackOptions:
    """
    Return settled options: every port is free now and none is 0.

    Raises:
        PortInUse: a port is taken.
        UsageError: *only* names a part that does not exist.
    """
    parts: tuple[Part, ...] = ALL_PARTS
    if only:
        asked = {part.strip() for part in only.split(",")}
        unknown = asked - set(ALL_PARTS)
        if unknown:
            raise UsageError(f"--only: no such part: {', '.join(sorted(unknown))}. There are {', '.join(ALL_PARTS)}.")
        parts = tuple(part for part in ALL_PARTS if part in asked)
    return StackOptions(
        state_dir=str(stack.state.root),
        http_host=host,
        http_port=require_free(host, http_port, option="--http-port"),
        dashboard_port=require_free("127.0.0.1", dashboard_port, option="--dashboard-port"),
        training_dashboard_port=require_free("127.0.0.1", training_dashboard_port, option="--training-dashboard-port"),
        parts=parts,
        synchronous=synchronous,
        workers=workers,
    )
