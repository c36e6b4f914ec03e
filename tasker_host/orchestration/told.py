"""What a host tells those who write to the database themselves: which contexts it takes, and that it must be rung.

`tasker.task_submit` reads it. A transaction that makes a task notifies workers only where some do not poll: elsewhere
a notification would hold up other commits for nothing.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta

import asyncpg

from tasker_host.db.database import CONNECTION_LOST, Database
from tasker_host.db.sqlfiles import query
from tasker_host.errors import DatabaseError
from tasker_host.orchestration.check import SubmitOptions

AGAIN_SECONDS = 600
"""Between two times that a host which does not poll says that it lives."""

VALID_FOR = timedelta(seconds=6 * AGAIN_SECONDS)
"""Tasks from SQL ring for so long after the last of these hosts has gone."""

RETRY_SECONDS = 5


async def tell_settings(database: Database, options: SubmitOptions) -> None:
    """Those of the host that starts last count for tasks from SQL."""
    await database.fetch(
        query("host_settings_tell"), options.context_max_bytes, options.context_max_depth, options.aging_interval
    )


async def tell_event_driven(database: Database) -> None:
    await database.fetch(query("event_driven_host_lives"), VALID_FOR)


async def keep_telling_event_driven(database: Database) -> None:
    """Until cancelled; the first time was told before."""
    seconds = AGAIN_SECONDS
    while True:
        await asyncio.sleep(seconds)
        try:
            await tell_event_driven(database)
        except (DatabaseError, asyncpg.PostgresError, *CONNECTION_LOST):
            seconds = RETRY_SECONDS
        else:
            seconds = AGAIN_SECONDS
