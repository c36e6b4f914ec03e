"""Reads: what the API and the command line show of tasks and steps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from operator import itemgetter
from typing import Any
from uuid import UUID

from tasker_host.db.database import Database
from tasker_host.db.sqlfiles import query
from tasker_host.domain.deadletter import ended_because
from tasker_host.domain.json import loads
from tasker_host.domain.readiness import StepFacts, progress
from tasker_host.domain.states import StepState

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
        because = loads(row["because"]) if row["because"] is not None else None
        row["because"] = because
        row["error"] = ended_because(because) if because is not None and row["status"] == "error" else None
        row["steps"] = []
        found[row["task_uuid"]] = row
    if with_steps and found:
        for record in await database.fetch(query("steps_of_tasks"), list(found)):
            step = dict(record)
            owner = found[step.pop("task_uuid")]
            for key in ("result", "error", "checkpoint", "tags"):
                step[key] = loads(step[key]) if step[key] is not None else None
            step["tags"] = step["tags"] or []
            step["dependencies_satisfied"] = step.pop("waits_on") == 0
            owner["steps"].append(step)
    if with_steps:
        now = datetime.now(UTC)
        for row in found.values():
            _judge(row, now)
    return [found[task] for task in tasks if task in found]


def _judge(row: Row, now: datetime) -> None:
    """Adds how far the task is and what can be done about it, and the same of its steps."""
    facts = []
    for step in row["steps"]:
        fact = StepFacts(
            StepState(step["current_state"]),
            total_parents=step["total_parents"],
            completed_parents=step["completed_parents"],
            attempts=step["attempts"],
            max_attempts=step["max_attempts"],
            next_retry_at=step["next_retry_at"],
            forgiven=step["optional"],
        )
        step["retry_eligible"] = fact.retry_eligible
        step["ready_for_execution"] = fact.state is StepState.ENQUEUED or fact.is_ready(now)
        facts.append(fact)
    whole = progress(facts, now)
    row["execution_status"] = whole.status.value
    row["recommended_action"] = whole.recommended_action
    row["health_status"] = whole.health_status
    row["ready_steps"] = sum(step["ready_for_execution"] for step in row["steps"])


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


async def task_history(database: Database, task: UUID) -> list[Row]:
    """Everything that happened to a task and its steps, in order; `step_uuid` is None for moves of the task itself."""
    rows = [dict(record) for record in await database.fetch(query("task_history"), task)]
    for row in rows:
        row["error"] = loads(row["error"]) if row["error"] is not None else None
    return list(_chained(rows))


def _chained(rows: list[Row]) -> Iterator[Row]:
    """Moves that one commit made of the same step, each from where the last one led to; the others as they are."""
    state: dict[UUID | None, str] = {}
    for (_, step), group in groupby(rows, key=itemgetter("at", "step_uuid")):
        left = list(group)
        while left:
            begins = [move for move in left if move["from_state"] == state.get(step)]
            begins += [move for move in left if move["from_state"] not in {other["to_state"] for other in left}]
            move = (begins or left)[0]
            left.remove(move)
            state[step] = move["to_state"]
            yield move


async def limits_list(database: Database, key: str | None = None) -> list[Row]:
    """Limits that are set and business keys in use, or the one of `key`; `waiting` steps wait for room."""
    return [dict(record) for record in await database.fetch(query("limits_list"), key)]


async def workers_list(database: Database) -> list[Row]:
    """The fleet, by host and process."""
    rows = [dict(record) for record in await database.fetch(query("workers_list"))]
    for row in rows:
        row["unserved"] = loads(row["unserved"])
    return rows
