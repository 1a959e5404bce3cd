from __future__ import annotations

import asyncio
from contextlib import suppress

from contracts.background import end


async def deaf(cancellations: int) -> None:
    """Loses so many cancellations."""
    for _ in range(cancellations):
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
    await asyncio.Event().wait()


async def failing() -> None:
    raise ValueError("wrong")


class TestEnd:
    async def test_a_cancellation_that_was_lost_is_given_again(self) -> None:
        task = asyncio.create_task(deaf(2))
        await asyncio.sleep(0)
        await end(task)
        assert task.cancelled()

    async def test_what_has_ended_or_never_began_is_left_alone(self) -> None:
        failed = asyncio.create_task(failing())
        await asyncio.wait([failed])
        await end(None, failed)
        await end()
        assert isinstance(failed.exception(), ValueError)
