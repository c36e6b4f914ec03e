"""Waiting for tasks to come to rest: complete, in error, cancelled, resolved or blocked."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from uuid import UUID

from tasker_host.db.database import Database
from tasker_host.db.queries import tasks_unsettled

FIRST_LOOK_SECONDS = 0.01
"""Waited before tasks are looked up for the first time: most are new, end here soon, and need not be."""

LOOK_SECONDS = 1.0
"""Looked up at least this often, in case a bell was lost."""


@dataclass(slots=True, eq=False)
class _Wait:
    """Somebody who waits until none of `tasks` is left."""

    tasks: set[UUID]
    over: asyncio.Future[None]


class Watch:
    """Wakes those who wait for tasks: at once for tasks this host finished itself, by doorbell for the others."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waits: dict[UUID, list[_Wait]] = {}
        self._bell = asyncio.Event()

    @property
    def waiting(self) -> int:
        """How many tasks are waited for."""
        return len(self._waits)

    def ended(self, tasks: Iterable[UUID]) -> None:
        """These tasks came to rest."""
        for task in tasks:
            for wait in self._waits.pop(task, ()):
                wait.tasks.discard(task)
                if not wait.tasks and not wait.over.done():
                    wait.over.set_result(None)

    def look(self) -> None:
        """Some task somewhere came to rest."""
        self._bell.set()

    async def settled(self, tasks: Sequence[UUID], *, timeout_seconds: float | None = None) -> None:
        """Returns when all of `tasks` have come to rest. Raises TimeoutError."""
        if not tasks:
            return
        wait = _Wait(set(tasks), asyncio.get_running_loop().create_future())
        for task in wait.tasks:
            self._waits.setdefault(task, []).append(wait)
        try:
            async with asyncio.timeout(timeout_seconds):
                await asyncio.wait([wait.over], timeout=FIRST_LOOK_SECONDS)
                # They may have ended before anybody waited for them.
                await self._look_up(wait.tasks)
                await wait.over
        finally:
            self._forget(wait)

    async def run(self) -> None:
        """Until cancelled: looks up the waited-for tasks after each bell, and now and then without one."""
        while True:
            try:
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._bell.wait()
            except TimeoutError:
                pass
            self._bell.clear()
            await self._look_up(self._waits.keys())

    async def _look_up(self, tasks: Iterable[UUID]) -> None:
        asked = set(tasks)
        if asked:
            self.ended(asked - set(await tasks_unsettled(self._database, list(asked))))

    def _forget(self, wait: _Wait) -> None:
        for task in wait.tasks:
            others = [other for other in self._waits.get(task, ()) if other is not wait]
            if others:
                self._waits[task] = others
            else:
                self._waits.pop(task, None)
