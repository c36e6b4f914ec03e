"""Dead letters: reading them, filing one by hand, and closing them."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from tasker_host.db.database import Database
from tasker_host.db.queries import Row
from tasker_host.db.sqlfiles import query
from tasker_host.db.sweep import Thresholds
from tasker_host.domain.deadletter import DeadLetterReason, Resolution
from tasker_host.domain.json import dumps, loads
from tasker_host.errors import DeadLetterExists, DeadLetterNotFound, IllegalMove, TaskNotFound


async def dead_letters_list(
    database: Database, status: Resolution | None, reason: DeadLetterReason | None, *, limit: int, offset: int
) -> list[Row]:
    """A page of dead letters, newest first."""
    return [_entry(row) for row in await database.fetch(query("dead_letters_list"), status, reason, limit, offset)]


async def dead_letter_of_task(database: Database, task: UUID) -> Row:
    """The latest one of a task. Raises DeadLetterNotFound."""
    row = await database.fetchrow(query("dead_letters_get"), task, None)
    if row is None:
        raise DeadLetterNotFound(f"no dead letter of task {task}")
    return _entry(row)


async def dead_letter_get(database: Database, entry: UUID) -> Row:
    """Raises DeadLetterNotFound."""
    row = await database.fetchrow(query("dead_letters_get"), None, entry)
    if row is None:
        raise DeadLetterNotFound(f"no dead letter {entry}; `tasker dlq list` shows what there is")
    return _entry(row)


async def dead_letter_file(database: Database, task: UUID, *, notes: str | None, metadata: Any = None) -> UUID:
    """Files an investigation by hand; the task goes on as it does. Raises TaskNotFound, DeadLetterExists."""
    entry: UUID | None = await database.fetchval(
        "select tasker.dead_letter_manual($1, $2, $3)", task, notes, None if metadata is None else dumps(metadata)
    )
    if entry is not None:
        return entry
    if not await database.fetchval("select exists (select from tasker.tasks where task_uuid = $1)", task):
        raise TaskNotFound(f"no task {task}")
    raise DeadLetterExists(f"task {task} has a dead letter that is pending; close or annotate that one")


async def dead_letter_update(
    database: Database,
    entry: UUID,
    *,
    status: Resolution | None = None,
    notes: str | None = None,
    resolved_by: str | None = None,
    metadata: Any = None,
) -> None:
    """Closes or annotates an investigation; None leaves a field. Raises DeadLetterNotFound, IllegalMove."""
    changed = await database.fetchval(
        "select tasker.dead_letter_update($1, $2, $3, $4, $5)",
        entry,
        status,
        notes,
        resolved_by,
        None if metadata is None else dumps(metadata),
    )
    if changed is None:
        found = await dead_letter_get(database, entry)
        raise IllegalMove(
            f"dead letter {entry} is {found['resolution_status']} already and cannot become {status}; file a new one"
            f" for task {found['task_uuid']} if there is more to look into"
        )


async def dead_letters_stats(database: Database) -> list[Row]:
    """By reason: how many in each status, the oldest and newest, and how long closing one took."""
    return [dict(row) for row in await database.fetch(query("dead_letters_stats"))]


async def dead_letters_queue(database: Database, *, limit: int) -> list[Row]:
    """Pending investigations, the most urgent first."""
    return [dict(row) for row in await database.fetch(query("dead_letters_queue"), limit)]


async def tasks_staleness(database: Database, thresholds: Thresholds, *, limit: int) -> list[Row]:
    """Tasks that wait or work, and how near to being stale they are, the nearest first.

    Tasks younger than a minute may be left out. Reads all open ones: for people, not for loops.
    """
    rows = [dict(row) for row in await database.fetch(query("tasks_staleness"), thresholds.json(), limit)]
    for row in rows:
        del row["share"]
    return rows


def _entry(row: Any) -> Row:
    entry = dict(row)
    for key in ("metadata", "task_snapshot"):
        entry[key] = loads(entry[key]) if entry[key] is not None else None
    return entry
