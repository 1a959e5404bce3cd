"""``shortlist demo``: from nothing to answers."""

from __future__ import annotations

import contextlib
import shlex
import time
from collections.abc import Iterator

from cluster.application import DEFAULT_CONFIG, wait_http
from cluster.commands.deploy import deploy_locally
from cluster.commands.load import movielens_with_progress
from cluster.commands.migrate import migrate_with_progress
from cluster.commands.options import (
    AsJson,
    DashboardPort,
    Detach,
    Host,
    HttpPort,
    StateDir,
    TrainingDashboardPort,
    Workers,
    stack_at,
    stack_options,
)
from cluster.commands.train import train_with_progress
from cluster.commands.up import running_stack
from cluster.console import Output
from cluster.local_postgres import LocalPostgres
from cluster.local_stack import LocalStack
from cluster.postgres import DATABASE
from cluster.record import StackRecord
from cluster.sample_answers import SAMPLES, ask, show
from cluster.status import extras
from cluster.training_run import JOBS

READY_TIMEOUT_S = 120.0


def demo(
    *,
    state_dir: StateDir = None,
    as_json: AsJson = False,
    detach: Detach = False,
    host: Host = "127.0.0.1",
    http_port: HttpPort = 8000,
    dashboard_port: DashboardPort = 8265,
    training_dashboard_port: TrainingDashboardPort = 8266,
    workers: Workers = 0,
) -> None:
    """
    Start everything, load MovieLens-100K, train, deploy, and show three searches and three recommendations.

    What is there already is kept: a second run loads and trains nothing. Stays until Ctrl-C, which stops everything it
    started; with --detach it returns once the answers are there.
    """
    began = time.monotonic()
    output = Output(as_json=as_json)
    stack = stack_at(state_dir, output)

    @contextlib.contextmanager
    def running() -> Iterator[StackRecord]:
        record = stack.record()
        if record is not None and record.condition == "ready":
            output.tell(f"A stack is running already: {record.url}")
            yield record
            return
        options = stack_options(
            stack,
            host=host,
            http_port=http_port,
            dashboard_port=dashboard_port,
            training_dashboard_port=training_dashboard_port,
            workers=workers,
        )
        with running_stack(output, stack, options, detached=detach) as started:
            yield started

    with running() as record:
        fill(output, stack, record)
        deploy_locally(output, stack, DEFAULT_CONFIG)
        with output.step("ready for requests") as progress:
            wait_http(record.url, path="/health/ready", timeout_s=READY_TIMEOUT_S, follow=progress.say)
        answers = [(sample, ask(record.url, sample)) for sample in SAMPLES]
        seconds = round(time.monotonic() - began, 1)
        for sample, answer in answers:
            show(output.terminal if as_json else output.result, sample, answer)
        _say_where(output, stack, record, seconds)
        output.answer(
            {
                "url": record.url,
                "seconds": {**output.seconds, "all": seconds},
                "answers": [
                    {"request": {"path": sample.path, **sample.parameters}, "answer": answer}
                    for sample, answer in answers
                ],
                **extras(stack.state, record),
            }
        )


def fill(output: Output, stack: LocalStack, record: StackRecord) -> None:
    """Migrate, load MovieLens-100K if there are no products and events, and train what has no active version."""
    migrate_with_progress(output, record.database_url)
    loaded = "select exists (select from products) and exists (select from events)"
    if stack.state.loading.exists() or LocalPostgres.of(stack.state).primary.query(loaded, database=DATABASE) != "t":
        # Stays behind when loading is interrupted, so that the next run loads the rest.
        stack.state.loading.touch()
        movielens_with_progress(output, record.database_url, stack.state.downloads)
        stack.state.loading.unlink()
    missing = [job for job in JOBS if not (stack.state.artifacts / job / "ACTIVE").exists()]
    if missing:
        train_with_progress(output, stack.training(), missing)


def _say_where(output: Output, stack: LocalStack, record: StackRecord, seconds: float) -> None:
    lines = {
        "ready after": f"{seconds} s",
        "page": f"{record.url}/",
        "API docs": f"{record.url}/docs",
        "dashboards": f"{record.dashboard_url} (serving), {record.training_dashboard_url} (training)",
        "their token": str(stack.state.token),
        "logs": str(stack.state.logs),
        "stop with": shlex.join(["shortlist", "down", "--state-dir", str(stack.state.root)]),
    }
    for name, value in lines.items():
        output.tell(f"{name:>12}  {value}")
