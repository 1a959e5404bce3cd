"""What a replica knows of its own deployment."""

from __future__ import annotations

import asyncio
import gc
import math
import secrets

from ray import serve
from ray.serve.exceptions import RayServeException
from ray.serve.schema import ApplicationStatus

STATUS_TIMEOUT_S = 2.0


def replica_name() -> str:
    """Return a name that no other replica has or had, fit for a file."""
    try:
        return serve.get_replica_context().replica_id.unique_id
    except RayServeException:  # a test holds the deployment without Serve
        return secrets.token_hex(4)


def most_replicas() -> int:
    """Return how many replicas this one's deployment may have at once, the extra ones of a rollout included."""
    deployment = serve.get_replica_context()._deployment_config  # noqa: SLF001  Serve offers no public way
    scaling = deployment.autoscaling_config
    most = int((deployment.num_replicas if scaling is None else scaling.max_replicas) or 1)
    return most + math.ceil(most * deployment.max_surge_percent / 100)


def settle() -> None:
    """
    Exempt what was made so far from garbage collection, for it lives as long as the process.

    To be called when a replica is ready. A full collection would look at some 200,000 objects of libraries each time,
    with every request waiting for 100 ms.
    """
    gc.freeze()


async def being_deployed() -> bool:
    """
    Return whether Serve is still bringing this one's application up.

    A replica that starts at any other time replaces one or joins others. So it is taken to be when Serve cannot say.
    """
    try:
        async with asyncio.timeout(STATUS_TIMEOUT_S):
            application = await asyncio.to_thread(_application)
    except Exception:  # noqa: BLE001 - whatever ails the controller, this replica starts
        return False
    return application is not None and application == ApplicationStatus.DEPLOYING


def _application() -> ApplicationStatus | None:
    found = serve.status().applications.get(serve.get_replica_context().app_name)
    return None if found is None else found.status
