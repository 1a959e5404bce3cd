"""``shortlist up``: start the local stack."""

from __future__ import annotations

import contextlib
import shlex
import signal
import subprocess
from collections.abc import Iterator
from typing import Annotated

import typer

from cluster import child
from cluster.application import DEFAULT_CONFIG
from cluster.commands.deploy import deploy_locally
from cluster.commands.migrate import migrate_with_progress
from cluster.commands.options import (
    AsJson,
    DashboardPort,
    Detach,
    Host,
    HttpPort,
    Only,
    StateDir,
    Synchronous,
    TrainingDashboardPort,
    Workers,
    stack_at,
    stack_options,
)
from cluster.console import Output
from cluster.errors import ServerFailed
from cluster.local_stack import STOP_TIMEOUT_S, LocalStack
from cluster.record import StackRecord
from cluster.signals import StopAsked, stop_on_signal
from cluster.stack_options import StackOptions
from cluster.status import extras

NoDeploy = Annotated[bool, typer.Option("--no-deploy", help="Start the servers and clusters, and deploy nothing.")]


def up(
    *,
    state_dir: StateDir = None,
    as_json: AsJson = False,
    detach: Detach = False,
    no_deploy: NoDeploy = False,
    host: Host = "127.0.0.1",
    http_port: HttpPort = 8000,
    dashboard_port: DashboardPort = 8265,
    training_dashboard_port: TrainingDashboardPort = 8266,
    synchronous: Synchronous = False,
    workers: Workers = 0,
    only: Only = "",
) -> None:
    """
    Start Postgres with its read replica, Valkey and both Ray clusters; migrate; deploy configs/serve_local.yaml.

    Stays until Ctrl-C, which stops everything it started; with --detach it returns once all is ready.
    """
    output = Output(as_json=as_json)
    stack = stack_at(state_dir, output)
    record = stack.record()
    if record is not None and record.condition == "ready":
        output.tell(f"It is running already: {record.url} (state in {stack.state.root})")
        output.answer({"url": record.url, "already_running": True, **extras(stack.state, record)})
        return
    options = stack_options(
        stack,
        host=host,
        http_port=http_port,
        dashboard_port=dashboard_port,
        training_dashboard_port=training_dashboard_port,
        only=only,
        synchronous=synchronous,
        workers=workers,
    )
    with running_stack(output, stack, options, detached=detach) as record:
        if "postgres" in options.parts:
            migrate_with_progress(output, record.database_url)
        if "ray-serving" in options.parts and not no_deploy:
            deploy_locally(output, stack, DEFAULT_CONFIG)
            output.tell(f"Serving at {record.url}")
        output.tell(f"State in {stack.state.root}, logs in {stack.state.logs}")
        output.answer({"url": record.url, "already_running": False, **extras(stack.state, record)})


@contextlib.contextmanager
def running_stack(output: Output, stack: LocalStack, options: StackOptions, *, detached: bool) -> Iterator[StackRecord]:
    """
    Start a stack, lend its record, and then leave it running (detached) or wait for Ctrl-C and stop it.

    When the body fails, or somebody asks to stop meanwhile, the stack is stopped in both cases.

    Raises:
        ClusterError: the stack did not start.
        ServerFailed: it ended by itself while we waited.
    """
    asked: StopAsked | None = None
    guard: subprocess.Popen[bytes] | None = None
    with stop_on_signal():
        try:
            guard = start_with_progress(output, stack, options, detached=detached)
            yield stack.running()
            if detached:
                return
            command = shlex.join(["shortlist", "down", "--state-dir", str(stack.state.root)])
            output.tell(f"Press Ctrl-C to stop. Elsewhere: {command}")
            _wait(stack, guard)
        except StopAsked as stop:
            asked = stop
            _end(output, guard)
        except BaseException:
            _end(output, guard)
            raise
    if asked is not None and (detached or guard is None):
        raise typer.Exit(128 + asked.number)


def start_with_progress(
    output: Output, stack: LocalStack, options: StackOptions, *, detached: bool
) -> subprocess.Popen[bytes]:
    """Start a stack and show each of its steps; return its guard."""
    shown: set[str] = set()
    with output.step("local stack") as progress:

        def follow(record: StackRecord) -> None:
            for step in record.steps:
                if step.seconds is None:
                    progress.say(f"waiting for the {step.name}")
                elif step.name not in shown:
                    shown.add(step.name)
                    output.done(step.name, step.seconds)

        return stack.start(options, detached=detached, follow=follow)


def _wait(stack: LocalStack, guard: subprocess.Popen[bytes]) -> None:
    """Return when the stack was stopped from elsewhere."""
    if guard.wait() != 0:
        raise ServerFailed(f"The stack ended by itself. See {stack.state.logs / 'supervisor.log'}")


def _end(output: Output, guard: subprocess.Popen[bytes] | None) -> None:
    if guard is not None:
        with output.step("stopping"):
            child.stop(guard, signal.SIGTERM, timeout_s=STOP_TIMEOUT_S)
