"""Waiting for tasks to come to rest: complete, in error, cancelled, resolved or blocked."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from uuid import UUID

from tasker_host.db.database import Database
from tasker_host.db.queries import tasks_unsettled

LOOK_SECONDS = 1.0
"""Looked up at least this often, in case a bell was lost."""


class Watch:
    """Wakes those who wait for tasks: at once for tasks this host finished itself, by doorbell for the others."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: dict[UUID, list[asyncio.Future[None]]] = {}
        self._bell = asyncio.Event()

    @property
    def waiting(self) -> int:
        """How many tasks are waited for."""
        return len(self._waiting)

    def ended(self, tasks: Iterable[UUID]) -> None:
        """These tasks came to rest."""
        for task in tasks:
            for future in self._waiting.pop(task, ()):
                if not future.done():
                    future.set_result(None)

    def look(self) -> None:
        """Some task somewhere came to rest."""
        self._bell.set()

    async def settled(self, tasks: Sequence[UUID], *, timeout_seconds: float | None = None) -> None:
        """Returns when all of `tasks` have come to rest. Raises TimeoutError."""
        futures = self._register(tasks)
        try:
            async with asyncio.timeout(timeout_seconds):
                # They may have ended before anybody waited for them.
                self.ended(set(tasks) - set(await tasks_unsettled(self._database, tasks)))
                await asyncio.gather(*futures)
        finally:
            for task, future in zip(tasks, futures, strict=True):
                future.cancel()
                remaining = [f for f in self._waiting.get(task, ()) if f is not future]
                if remaining:
                    self._waiting[task] = remaining
                else:
                    self._waiting.pop(task, None)

    def _register(self, tasks: Sequence[UUID]) -> list[asyncio.Future[None]]:
        loop = asyncio.get_running_loop()
        futures = []
        for task in tasks:
            future: asyncio.Future[None] = loop.create_future()
            self._waiting.setdefault(task, []).append(future)
            futures.append(future)
        return futures

    async def run(self) -> None:
        """Until cancelled: looks up the waited-for tasks after each bell, and now and then without one."""
        while True:
            try:
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._bell.wait()
            except TimeoutError:
                pass
            self._bell.clear()
            if self._waiting:
                tasks = list(self._waiting)
                self.ended(set(tasks) - set(await tasks_unsettled(self._database, tasks)))
