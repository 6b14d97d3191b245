"""The end of background work, waited for."""

from __future__ import annotations

import asyncio
from typing import Any

ASK_AGAIN_S = 1.0


async def end(*tasks: asyncio.Task[Any]) -> None:
    """Cancel ``tasks`` and wait until each has ended, with whatever outcome.

    Asked once, a task may go on for ever: before Python 3.12 ``asyncio.wait_for``, with which the pool of connections
    waits, loses a cancellation that comes just as what it waits for is done (CPython issue 86296).
    """
    left = {task for task in tasks if not task.done()}
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=ASK_AGAIN_S)
    await asyncio.gather(*tasks, return_exceptions=True)
