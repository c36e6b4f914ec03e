"""What operators do, from Python: tasks, steps and limits are changed by one call each (`sql/functions/`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID

import orjson

from tasker_host.db.database import Database, unhindered
from tasker_host.db.sqlfiles import query

TaskAction = Literal["cancel", "pause", "resume", "resolve_manually", "rerun"]
StepAction = Literal["reset_for_retry", "resolve_manually", "complete_manually"]
Refused = Literal["not_found", "illegal", "running", "no_such_step", "task_over", "decided"]


@dataclass(frozen=True, slots=True)
class Operated:
    """What became of one task or step; with `refused` nothing of it was changed."""

    uuid: UUID
    task_uuid: UUID | None
    from_state: str | None
    to_state: str | None
    refused: Refused | None
    work_for: tuple[str, ...]
    """Namespaces that got work by the call as a whole: their workers are to be told."""


async def tasks_operate(
    database: Database,
    action: TaskAction,
    tasks: Sequence[UUID],
    *,
    actor: str,
    reason: str,
    options: Mapping[str, Any] | None = None,
) -> list[Operated]:
    """Change tasks; in the order given. SQL: `functions/65_operate.sql`."""
    rows = await _fetch(
        database,
        "select task_uuid, task_uuid, from_state, to_state, refused, work_for"
        " from tasker.tasks_operate($1, $2, $3, $4, $5)",
        action,
        list(tasks),
        actor,
        reason,
        orjson.dumps(dict(options or {})).decode(),
    )
    return [_operated(row) for row in rows]


async def steps_operate(
    database: Database,
    action: StepAction,
    steps: Sequence[UUID],
    *,
    actor: str,
    reason: str,
    value: str | None = None,
    expand: str | None = None,
) -> list[Operated]:
    """Change steps; `value` is the JSON text that `complete_manually` gives them, `expand` the steps that the only one
    adds by that. SQL: `functions/65_operate.sql`."""
    rows = await _fetch(
        database,
        "select step_uuid, task_uuid, from_state, to_state, refused, work_for"
        " from tasker.steps_operate($1, $2, $3, $4, $5, $6)",
        action,
        list(steps),
        value,
        actor,
        reason,
        expand,
    )
    return [_operated(row) for row in rows]


async def step_template(database: Database, step: UUID) -> tuple[str, str] | None:
    """The step of the template that a step is made from, and the template's JSON; None where there is no such step."""
    row = await database.fetchrow(query("step_template"), step)
    return None if row is None else (row[0], row[1])


async def limit_set(
    database: Database,
    key: str,
    *,
    max_running: int | None,
    per_second: float | None,
    burst: int | None,
    paused: bool | None,
    actor: str,
    reason: str,
) -> list[str]:
    """Set, change or remove a limit, `paused` None as it was; the namespaces that got work by it.

    SQL: `functions/36_limits.sql`.
    """
    rows = await _fetch(
        database,
        "select tasker.limit_set($1, $2, $3, $4, $5, $6, $7)",
        key,
        max_running,
        per_second,
        burst,
        paused,
        actor,
        reason,
    )
    return list(rows[0][0])


async def limit_pause(database: Database, key: str, *, paused: bool, actor: str, reason: str) -> list[str]:
    """Pause or resume a key, whatever else its limit says; the namespaces that got work by it."""
    rows = await _fetch(database, "select tasker.limit_pause($1, $2, $3, $4)", key, paused, actor, reason)
    return list(rows[0][0])


async def _fetch(database: Database, sql: str, *arguments: Any) -> list[Any]:
    """One statement. Raises DatabaseUnavailable when workers are in its way again and again."""
    return await unhindered(lambda: database.fetch(sql, *arguments))


def _operated(row: Any) -> Operated:
    return Operated(row[0], row[1], row[2], row[3], row[4], tuple(row[5] or ()))
