"""Serve with one replica, all of whose threads get stuck: says ``replaced`` once another answers in its place."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time

import ray
from ray import serve

from deployments.replica_health import ReplicaHealth

WAIT_S = 120.0


@serve.deployment(health_check_period_s=0.5, health_check_timeout_s=10, graceful_shutdown_timeout_s=1)
class Replica:
    """Has the health check of our deployments, in a hurry."""

    def __init__(self) -> None:
        self._health = ReplicaHealth(executor_timeout_s=0.5)

    async def stick(self) -> int:
        """Give every thread of the default executor something to wait for in vain; return the process."""
        for _ in range(100):
            asyncio.get_running_loop().run_in_executor(None, threading.Event().wait)
        return os.getpid()

    async def pid(self) -> int:
        """Return the process: the event loop goes on."""
        return os.getpid()

    async def check_health(self) -> None:
        """Return if this process is well."""
        await self._health.check()


def main(directory: str) -> None:
    """Run to the end, or raise."""
    ray.init(num_cpus=2, include_dashboard=False, object_store_memory=100_000_000, _temp_dir=directory)
    serve.start(http_options={"location": "NoServer"})
    handle = serve.run(Replica.bind(), name="stuck", route_prefix=None)  # type: ignore[attr-defined]
    stuck = handle.stick.remote().result(timeout_s=WAIT_S)
    deadline = time.monotonic() + WAIT_S
    while handle.pid.remote().result(timeout_s=WAIT_S) == stuck:
        if time.monotonic() > deadline:
            raise TimeoutError("the replica was not replaced")
        time.sleep(0.2)
    serve.shutdown()  # type: ignore[no-untyped-call]
    ray.shutdown()
    sys.stdout.write("replaced\n")


if __name__ == "__main__":
    main(sys.argv[1])
