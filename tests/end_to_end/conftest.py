"""HTTP to the running stack, as a shop would speak it."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from cluster.child import wait_until
from tests.stack import Stack

READS = ("/v1/search", "/v1/recommendations")


def _take_your_time(request: httpx.Request) -> None:
    """Give a read an ample deadline, if it names none: the tests keep the machine busy, and are not about speed."""
    if request.method == "GET" and request.url.path in READS and "timeout_ms" not in request.url.params:
        request.url = request.url.copy_merge_params({"timeout_ms": "20000"})


@pytest.fixture
def left_well(stack: Stack) -> Iterator[None]:
    """For a test that breaks something: when it ends, the stack is wholly well again, for whoever comes next."""
    yield
    assert wait_until(stack.is_well, timeout_s=180, poll_s=0.25)


@pytest.fixture
def client(stack: Stack) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=stack.url, timeout=30, event_hooks={"request": [_take_your_time]}) as client:
        yield client
