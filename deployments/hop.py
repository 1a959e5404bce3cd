"""One call from a deployment to another: an answer in time, or a cause."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any

from ray.exceptions import RayActorError
from ray.serve.exceptions import BackPressureError, RayServeException
from ray.serve.handle import DeploymentHandle

from contracts.stages import Cause
from retrieval.stage_run import cause_of
from storage.errors import StorageError

log = logging.getLogger(__name__)


class HopFailed(Exception):
    """
    A deployment did not answer.

    Attributes:
        deployment: Which one.
        cause: Why, of the closed list.
        ms: Milliseconds spent waiting.
    """

    def __init__(self, deployment: str, cause: Cause, ms: float) -> None:
        super().__init__(deployment, cause, ms)
        self.deployment = deployment
        self.cause = cause
        self.ms = ms

    def __str__(self) -> str:
        return f"{self.deployment}: {self.cause} after {self.ms:.0f} ms"


async def call(handle: DeploymentHandle[Any], method: str, *args: Any, timeout_s: float) -> Any:  # noqa: ANN401 - any message
    """
    Return what *method* of the deployment behind *handle* answers.

    Args:
        handle: The deployment.
        method: Its method.
        *args: The method's arguments.
        timeout_s: Seconds to wait, queueing included: a call to a deployment without a live replica waits, it does not
            fail.

    Raises:
        HopFailed: no answer in time, no replica, a full queue, or an error inside the deployment.
    """
    started = time.perf_counter()
    name = handle.deployment_name
    response = None
    try:
        response = getattr(handle, method).remote(*args)
        async with asyncio.timeout(timeout_s):
            return await response
    except TimeoutError as error:
        if response is not None:
            response.cancel()
        raise HopFailed(name, "timeout", _ms(started)) from error
    except BackPressureError as error:
        raise HopFailed(name, "overloaded", _ms(started)) from error
    except (RayActorError, RayServeException, StorageError) as error:
        raise HopFailed(name, cause_of(error), _ms(started)) from error
    except Exception as error:
        # Whatever the deployment raised arrives here, over gRPC as it is; to the caller it is one thing.
        log.exception("%s.%s failed", name, method)
        raise HopFailed(name, "unavailable", _ms(started)) from error


def _ms(started: float) -> float:
    return round((time.perf_counter() - started) * 1000, 3)
