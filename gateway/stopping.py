"""Stopping tasks for certain."""

from __future__ import annotations

import asyncio
from typing import Any

AGAIN_S = 0.2


async def stop(*tasks: asyncio.Task[Any]) -> None:
    """Cancels tasks until they have ended; what they raised is dropped.

    Once is not enough: before Python 3.12, `asyncio.wait_for` loses a cancellation that comes
    together with its result, and redis-py sends every command through it.
    """
    left = set(tasks)
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=AGAIN_S)
    await asyncio.gather(*tasks, return_exceptions=True)
