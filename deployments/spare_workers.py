"""Worker processes kept idle on this node, with everything imported, for the next replicas that have to be started."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
from collections.abc import Awaitable, Callable, Iterable

import psutil
import ray
from ray import serve
from ray._private.grpc_utils import init_grpc_channel
from ray.core.generated.node_manager_pb2 import PrestartWorkersRequest  # type: ignore[attr-defined]
from ray.core.generated.node_manager_pb2_grpc import NodeManagerServiceStub

from contracts.background import end

PRELOADED = "RAY_preload_python_modules"
"""The variable of Ray's nodes that says what a worker process imports before it has anything to do."""

MOST = 2
"""Spare processes on a node, however many replicas it has."""

PERIOD_S = 5.0
ANSWER_S = 5.0
# Ray ends what is idle for so long, where no CPU is free.
KEPT_S = 24 * 3600
# As Ray names its processes.
IDLE = "ray::IDLE"
STARTING = "default_worker.py"
REPLICA = "ray::ServeReplica:{app}:{deployment}"

log = logging.getLogger(__name__)


class SpareWorkers:
    """
    Sees to it that worker processes stand idle on this node: one for each replica like this one, two at most.

    Ray hands one to the next actor that starts there, whichever deployment's replica it is, and that replica needs no
    time for Python and the imports. It does nothing where the node's workers import nothing beforehand.

    Args:
        lacking: How many there should be beyond those that are there or starting; runs in a thread.
        order: Asks for one more.
        wanted: Whether to keep any.
    """

    def __init__(
        self,
        lacking: Callable[[], int],
        order: Callable[[], Awaitable[None]],
        *,
        wanted: bool,
        period_s: float = PERIOD_S,
    ) -> None:
        self._lacking = lacking
        self._order = order
        self._wanted = wanted
        self._period_s = period_s
        self._task: asyncio.Task[None] | None = None

    @classmethod
    def of_this_node(cls) -> SpareWorkers:
        """Return what keeps workers beside this replica."""
        return cls(lacking_here, order_worker, wanted=bool(os.environ.get(PRELOADED)))

    def start(self) -> None:
        """Keep them in the background."""
        if self._wanted:
            self._task = asyncio.create_task(self._run(), name="spare-workers")

    @property
    def alive(self) -> bool:
        """Whether the task has not died; true before the start and after the end."""
        return self._task is None or not self._task.done()

    async def stop(self) -> None:
        """Order no more; those that are there stay."""
        await end(self._task)
        self._task = None

    async def _run(self) -> None:
        while True:
            # First: what has just started has better to do. And not at the moment at which the others look.
            await asyncio.sleep(self._period_s * random.uniform(0.5, 1.5))  # noqa: S311 - no secret
            try:
                async with asyncio.timeout(ANSWER_S):
                    if await asyncio.to_thread(self._lacking) > 0:
                        await self._order()
                        log.info("asked for a spare worker process")
            except Exception as error:  # noqa: BLE001 - without a spare a replica starts a little later
                log.info("there is no spare worker process: %r", error)


def lacking(commands: Iterable[str], replica: str) -> int:
    """
    Return how many spare workers are lacking on a node; negative if there are too many.

    Args:
        commands: The command lines of its worker processes.
        replica: What the command line of a replica begins with that is to have a spare worker.
    """
    spares = replicas = 0
    for command in commands:
        spares += command.startswith(IDLE) or STARTING in command
        replicas += command.startswith(replica)
    return min(replicas, MOST) - spares


def lacking_here() -> int:
    """Return how many spare workers this replica's node lacks."""
    raylet = psutil.Process().parent()
    commands = []
    for process in raylet.children() if raylet else []:
        with contextlib.suppress(psutil.Error):
            commands.append(" ".join(process.cmdline()))
    context = serve.get_replica_context()
    return lacking(commands, REPLICA.format(app=context.app_name, deployment=context.deployment))


async def order_worker() -> None:
    """Have this node's raylet start a worker process for nobody in particular."""
    this = ray.get_runtime_context().get_node_id()
    nodes = await asyncio.to_thread(ray.nodes)
    node = next(node for node in nodes if node["NodeID"] == this)
    address = f"{node['NodeManagerAddress']}:{node['NodeManagerPort']}"
    async with init_grpc_channel(address, asynchronous=True) as channel:
        request = PrestartWorkersRequest(num_workers=1, keep_alive_duration_secs=KEPT_S)
        raylet = NodeManagerServiceStub(channel)  # type: ignore[no-untyped-call]
        await raylet.PrestartWorkers(request, timeout=ANSWER_S)
