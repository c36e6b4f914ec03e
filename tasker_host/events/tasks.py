"""`host.task.finished`: the tasks that came to rest by what this host did."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from uuid import UUID

import asyncpg

from tasker_host.db.database import CONNECTION_LOST, Database
from tasker_host.db.sqlfiles import query
from tasker_host.errors import DatabaseError
from tasker_host.events.hub import TASK_FINISHED, Events

MOST_AT_ONCE = 1000
"""Tasks that are looked up in one query."""

MOST_WAITING = 100_000
"""Tasks of which is not told yet; beyond that none is added: news is not worth all the memory."""

AGAIN_SECONDS = 1.0
"""After the database could not be asked."""


class TaskNews:
    """Costs nothing when nobody hears of it."""

    def __init__(self, events: Events, database: Database) -> None:
        self._events = events
        self._database = database
        self._is_heard = events.bus.hears(TASK_FINISHED)
        self._ended: list[UUID] = []
        self._some = asyncio.Event()

    def ended(self, tasks: Iterable[UUID]) -> None:
        """These came to rest: complete, error or blocked."""
        if self._is_heard and len(self._ended) < MOST_WAITING:
            self._ended += tasks
            self._some.set()

    async def run(self) -> None:
        """Tells of them until cancelled; returns at once when nobody hears of it."""
        while self._is_heard:
            await self._some.wait()
            self._some.clear()
            if not await self.tell():
                self._some.set()
                await asyncio.sleep(AGAIN_SECONDS)

    async def tell(self) -> bool:
        """Tells of all there are; False when the database could not be asked, and it is to be tried again."""
        while self._ended:
            tasks = self._ended[:MOST_AT_ONCE]
            try:
                rows = await self._database.fetch(query("tasks_news"), tasks)
            except (DatabaseError, asyncpg.PostgresError, *CONNECTION_LOST):
                return False
            del self._ended[: len(tasks)]
            for row in rows:
                self._events.happened(
                    TASK_FINISHED,
                    {
                        "state": row["state"],
                        "steps_total": row["steps_total"],
                        "steps_done": row["steps_done"],
                        "steps_failed": row["steps_failed"],
                    },
                    task_uuid=str(row["task_uuid"]),
                    namespace=row["namespace"],
                    template_name=row["name"],
                    template_version=row["version"],
                    correlation_id=str(row["correlation_id"]),
                )
        return True
