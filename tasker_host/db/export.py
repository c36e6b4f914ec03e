"""Whole tasks as text, one after the other: memory does not grow with their number."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime

from tasker_host.db.database import Database
from tasker_host.db.sqlfiles import query

PREFETCH = 20
"""Documents that are in memory at the same time."""


async def tasks_export(
    database: Database, *, namespace: str | None = None, before: datetime | None = None, archived: bool = False
) -> AsyncIterator[bytes]:
    """Documents of tasks, oldest first; all are as they were when the first one was read.

    `before`: only those that ended before. `archived`: those that retention archived, by their ends.
    """
    sql = query("tasks_export_archived" if archived else "tasks_export")
    async with database.acquire() as connection, connection.transaction(isolation="repeatable_read", readonly=True):
        async for row in connection.cursor(sql, namespace, before, prefetch=PREFETCH):
            yield row["document"].replace("\n", " ").encode()
