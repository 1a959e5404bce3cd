"""A real S3 server: moto's, in a process of its own, over HTTP."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import httpx

from cluster.child import wait_until

CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "shortlist",
    "AWS_SECRET_ACCESS_KEY": "not-a-secret",
    "AWS_EC2_METADATA_DISABLED": "true",
}
BUCKET = "bucket"
START_TIMEOUT_S = 60.0


@dataclass(frozen=True)
class S3Server:
    """Where it listens."""

    port: int

    @property
    def endpoint(self) -> str:
        """Its URL."""
        return f"http://127.0.0.1:{self.port}"

    def root(self, prefix: str, bucket: str = BUCKET) -> str:
        """The URI of a prefix, as ``SHORTLIST_ARTIFACTS`` takes it."""
        return f"s3://{bucket}/{prefix}?scheme=http&endpoint_override=127.0.0.1:{self.port}&region=us-east-1"

    def answers(self) -> bool:
        """Whether it does."""
        with contextlib.suppress(httpx.HTTPError):
            return httpx.get(f"{self.endpoint}/moto-api/", timeout=5, trust_env=False).is_success
        return False


@contextlib.contextmanager
def s3_server(*, guarded: bool = False) -> Iterator[S3Server]:
    """A server that ends with the block, and its one bucket; a *guarded* one knows nobody's keys."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    if guarded:
        environment["INITIAL_NO_AUTH_ACTION_COUNT"] = "1"
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            server = S3Server(port)
            assert wait_until(lambda: server.answers() or process.poll() is not None, timeout_s=START_TIMEOUT_S)
            assert process.poll() is None, "the S3 server did not start"
            httpx.put(f"{server.endpoint}/{BUCKET}", timeout=30, trust_env=False).raise_for_status()
            yield server
        finally:
            process.kill()
