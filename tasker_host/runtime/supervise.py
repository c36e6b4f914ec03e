"""Loops that a process keeps running while it serves."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable

import structlog

log = structlog.get_logger("tasker.runtime")

LEAST_PAUSE_SECONDS = 0.2
MOST_PAUSE_SECONDS = 10.0


class Supervisor:
    """Runs named loops side by side. One that raises is logged and started again, after a pause that grows.

    One that returns has ended on purpose.
    """

    def __init__(self) -> None:
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def start(self, name: str, loop: Callable[[], Awaitable[None]]) -> None:
        """`loop` is called anew for every start."""
        self._tasks[name] = asyncio.create_task(self._keep(name, loop), name=f"tasker-{name}")

    async def ended(self, name: str) -> None:
        """Returns when the loop of that name has ended; at once when there is none."""
        if name in self._tasks:
            await asyncio.wait([self._tasks[name]])

    async def stop(self) -> None:
        """Cancels all loops and waits for their ends."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        self._tasks.clear()

    async def _keep(self, name: str, loop: Callable[[], Awaitable[None]]) -> None:
        pause = LEAST_PAUSE_SECONDS
        clock = asyncio.get_running_loop().time
        while True:
            started = clock()
            try:
                return await loop()
            except Exception as error:
                if clock() - started > MOST_PAUSE_SECONDS:
                    pause = LEAST_PAUSE_SECONDS
                log.exception("loop failed, starting it again", loop=name, error=str(error), pause_seconds=pause)
            await asyncio.sleep(pause * random.uniform(0.75, 1.25))  # noqa: S311 - jitter, not a secret
            pause = min(MOST_PAUSE_SECONDS, pause * 2)
