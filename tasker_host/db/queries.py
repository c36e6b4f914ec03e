"""Reads: what the API and the command line show of tasks and steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from tasker_host.db.database import Database
from tasker_host.db.sqlfiles import query
from tasker_host.domain.deadletter import ended_because
from tasker_host.domain.json import loads

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class TaskFilter:
    """What `tasks_list` matches; None does not filter. `states` are task states."""

    namespace: str | None = None
    name: str | None = None
    version: str | None = None
    states: Sequence[str] | None = None
    initiator: str | None = None
    source_system: str | None = None

    def arguments(self) -> tuple[Any, ...]:
        return (self.namespace, self.name, self.version, self.states, self.initiator, self.source_system)


async def tasks_get(database: Database, tasks: Sequence[UUID], *, with_steps: bool = True) -> list[Row]:
    """Tasks by uuid, each with its `steps`; those that do not exist are left out. Order as asked."""
    rows = await database.fetch(query("tasks_get"), list(tasks))
    found: dict[UUID, Row] = {}
    for record in rows:
        row = dict(record)
        row["context"] = loads(row["context"])
        row["error"] = ended_because(loads(row["error"])) if row["error"] is not None else None
        row["steps"] = []
        found[row["task_uuid"]] = row
    if with_steps and found:
        for record in await database.fetch(query("steps_of_tasks"), list(found)):
            step = dict(record)
            owner = found[step.pop("task_uuid")]
            step["result"] = loads(step["result"]) if step["result"] is not None else None
            step["error"] = loads(step["error"]) if step["error"] is not None else None
            step["dependencies_satisfied"] = step.pop("waits_on") == 0
            owner["steps"].append(step)
    return [found[task] for task in tasks if task in found]


async def tasks_list(database: Database, wanted: TaskFilter, *, limit: int, offset: int) -> tuple[list[Row], int]:
    """A page of tasks, newest first, without steps and context, and how many match in all."""
    rows = await database.fetch(query("tasks_list"), *wanted.arguments(), limit, offset)
    if not offset and len(rows) < limit:
        return [dict(row) for row in rows], len(rows)
    return [dict(row) for row in rows], await database.fetchval(query("tasks_count"), *wanted.arguments())


async def tasks_unsettled(database: Database, tasks: Sequence[UUID]) -> list[UUID]:
    """Those of `tasks` that still go on by themselves."""
    return [row[0] for row in await database.fetch(query("tasks_unsettled"), list(tasks))]


async def queue_depths(database: Database) -> dict[str, tuple[int, int]]:
    """Namespace → (ready, waiting) messages."""
    rows = await database.fetch(query("queue_depths"))
    return {row["namespace"]: (row["ready"], row["waiting"]) for row in rows}


async def tasks_outcomes(database: Database, tasks: Sequence[UUID]) -> list[Row]:
    """What became of `tasks`: template, state, `took_ms`, executions, and the step and error of those that failed."""
    rows = []
    for record in await database.fetch(query("tasks_outcomes"), list(tasks)):
        row = dict(record)
        row["context"] = loads(row["context"])
        row["error"] = loads(row["error"]) if row["error"] is not None else None
        rows.append(row)
    return rows


async def workers_connected(database: Database) -> int:
    """How many workers are connected to this database."""
    return int(await database.fetchval(query("workers_connected")))
