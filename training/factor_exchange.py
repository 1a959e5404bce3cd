"""Factors between workers, through Ray's object store."""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import ray
from ray.train.collective import broadcast_from_rank_zero

from training.als import Alone, Exchange, FloatMatrix


@dataclass
class _Board:
    """What the workers brought to one exchange."""

    blocks: dict[int, Any] = field(default_factory=dict)
    pause: bool = False
    complete: asyncio.Event = field(default_factory=asyncio.Event)


class MeetingPoint:
    """
    Where the workers of a run leave references to their blocks: an actor, which no factor passes through.

    Args:
        workers: How many there are.
    """

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._boards: dict[int, _Board] = {}

    async def swap(self, number: int, rank: int, boxed: list[Any], pause: bool) -> tuple[list[Any], bool]:
        """
        Return the references of all workers by rank, and whether any asks for a pause, once the last one is here.

        Args:
            number: Of the exchange.
            rank: Who brings something.
            boxed: Its reference, in a list so that Ray passes it on unread.
            pause: Whether it asks for a pause.
        """
        board = self._boards.setdefault(number, _Board())
        board.blocks[rank] = boxed[0]
        board.pause |= pause
        if len(board.blocks) == self._workers:
            board.complete.set()
            # Everybody has read the one before, or would not be here.
            self._boards.pop(number - 1, None)
        await board.complete.wait()
        return [board.blocks[each] for each in range(self._workers)], board.pause


class ObjectStoreExchange:
    """
    The exchange of one of several workers.

    Args:
        meeting_point: Handle of the run's `MeetingPoint`.
        rank: Of this worker.
        bounds: By side, where the rows of each rank begin, and the end.
    """

    def __init__(self, meeting_point: Any, rank: int, bounds: dict[str, list[int]]) -> None:  # noqa: ANN401  a handle
        self._meeting_point = meeting_point
        self._rank = rank
        self._bounds = bounds
        self._number = 0
        self._kept: Any = None

    def gathered(self, block: FloatMatrix, side: str, *, pause: bool = False) -> tuple[FloatMatrix, bool]:
        """See `Exchange`; a block that another worker lost with its process ends this one with Ray's error too."""
        mine = ray.put(block)
        found, paused = ray.get(self._meeting_point.swap.remote(self._number, self._rank, [mine], pause))
        # Once everybody is here, everybody has copied what was brought the time before.
        self._kept, self._number = mine, self._number + 1
        bounds = self._bounds[side]
        whole = np.empty((bounds[-1], block.shape[1]), dtype=np.float32)
        for rank, reference in enumerate(found):
            part = block if rank == self._rank else ray.get(reference)
            whole[bounds[rank] : bounds[rank + 1]] = part
        return whole, paused


def joined(rank: int, workers: int, bounds: dict[str, list[int]]) -> Exchange:
    """
    Return the exchange of this Ray Train worker; every worker of the group calls it.

    The meeting point belongs to the first worker: when the group is started anew, so is that.
    """
    if workers == 1:
        return Alone()
    name = f"factors-{secrets.token_hex(8)}" if rank == 0 else None
    owned = None
    if name is not None:
        # As many wait at once as there are workers.
        actor: Any = ray.remote(MeetingPoint)
        owned = actor.options(name=name, num_cpus=0, max_concurrency=4 * workers).remote(workers)
        ray.get(owned.__ray_ready__.remote())
    name = broadcast_from_rank_zero(name)
    return ObjectStoreExchange(owned or ray.get_actor(name), rank, bounds)
