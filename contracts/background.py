"""Ending what runs in the background."""

from __future__ import annotations

import asyncio
from typing import Any

# A cancellation that was lost is given again after so many seconds.
AGAIN_S = 0.5


async def end(*tasks: asyncio.Task[Any] | None) -> None:
    """
    Cancel *tasks* and return when all have ended, in whatever way.

    One cancellation may be lost: before Python 3.12 `asyncio.wait_for`, also in a library, swallows one that comes when
    what it waits for has just ended. So it is given again until it is heard.
    """
    pending = {task for task in tasks if task is not None}
    while pending:
        for task in pending:
            task.cancel()
        ended, pending = await asyncio.wait(pending, timeout=AGAIN_S)
        for task in ended:
            # Whoever ends a task no longer wants to know how it failed.
            if not task.cancelled():
                task.exception()
