"""The stack that things are done to, under a stream of requests from a process beside."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import pytest

from bench.chaos.experiment import wait_well
from bench.chaos.stream import Stream, StreamOptions
from bench.chaos.subject import Subject
from cluster.child import wait_until
from tests.stack import Stack


@pytest.fixture(scope="module")
def subject(stack: Stack) -> Subject:
    return Subject(stack.state_dir)


@pytest.fixture(scope="module")
def stream(stack: Stack, subject: Subject, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stream]:
    """Few requests with ample deadlines: the machine is busy with the tests, and these are not about speed."""
    options = StreamOptions(
        url=subject.url,
        name=f"chaos-{os.getpid()}",
        searches=4.0,
        recommendations=2.0,
        posts=1.5,
        timeout_ms=10_000,
        patience_s=20.0,
    )
    stream = Stream(options, tmp_path_factory.mktemp("chaos") / "records.jsonl")
    try:
        with stream.running():
            assert wait_well(stream, since_s=time.monotonic(), timeout_s=120) is not None, (
                "no good answers to begin with"
            )
            yield stream
        assert wait_until(stack.is_well, timeout_s=180, poll_s=0.25), "the stack is not well afterwards"
    finally:
        subject.forget_events(options.name)
