"""The housekeeping calls from Python. SQL: `functions/90_sweep.sql`, `91_dead_letters.sql`, `92_retention.sql`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from tasker_host.db.database import Database
from tasker_host.db.sqlfiles import query


@dataclass(frozen=True, slots=True)
class Thresholds:
    """After how many minutes a task is stale in each state where its template does not say, and what is done then."""

    waiting_for_dependencies: int = 60
    waiting_for_retry: int = 30
    steps_in_process: int = 30
    other: int = 1440
    lifetime: int = 1440
    dead_letters: bool = True
    fail: bool = True

    def json(self) -> str:
        return json.dumps({name: getattr(self, name) for name in self.__slots__})


@dataclass(frozen=True, slots=True)
class Swept:
    """A stale task and what was done with it; `action_taken` is one of five words, see docs/operations.md."""

    task_uuid: UUID
    namespace: str
    task_name: str
    current_state: str
    time_in_state_minutes: int
    threshold_minutes: int
    reason: str
    action_taken: str
    moved_to_dlq: bool
    transition_success: bool


@dataclass(frozen=True, slots=True)
class Waiting:
    """The waiting steps of a task in which nothing else is left: name → those of its parents that wait too."""

    task_uuid: UUID
    since: datetime
    steps: Mapping[str, list[str]]


@dataclass(frozen=True, slots=True)
class Policy:
    """Which finished tasks of a namespace are taken away; None: no such limit."""

    max_age: timedelta | None
    max_count: int | None
    archive: bool = False

    def __bool__(self) -> bool:
        """Whether it takes anything away at all."""
        return self.max_age is not None or self.max_count is not None


async def turn_take(database: Database, name: str, every: timedelta) -> bool:
    """Whether it is this host's turn: the last one, whoever had it, began at least `every` ago."""
    return bool(await database.fetchval("select tasker.turn_take($1, $2)", name, every))


async def deadlines_enforce(database: Database, *, limit: int) -> tuple[list[UUID], float | None]:
    """Ends tasks that are past their deadline: these, and in how many seconds to look again (None: not by a time)."""
    row = await database.fetchrow(query("deadlines_enforce"), limit)
    assert row is not None
    return list(row["ended"]), row["next_seconds"]


async def tasks_walk(database: Database, name: str, *, lag: timedelta, limit: int) -> bool:
    """One step of the walk of that name; whether there may be more to read."""
    return bool(await database.fetchval("select tasker.tasks_walk($1, $2, $3)", name, lag, limit))


async def watches_due(database: Database) -> UUID | None:
    """The first of the watched tasks whose time to be looked at has come."""
    due: UUID | None = await database.fetchval(query("watches_due"))
    return due


async def limits_offer(database: Database) -> None:
    """Brings steps that wait for room back where room is left. SQL: `functions/36_limits.sql`."""
    await database.fetch("select tasker.limits_offer()")


async def tasks_sweep(database: Database, thresholds: Thresholds, *, limit: int, dry_run: bool) -> list[Swept]:
    """Looks at up to `limit` watched tasks whose time has come; those that are stale."""
    rows = await database.fetch("select * from tasker.tasks_sweep($1, $2, $3, null)", dry_run, limit, thresholds.json())
    return [Swept(*row) for row in rows]


async def tasks_waiting(database: Database, *, limit: int) -> list[Waiting]:
    """Watched tasks in which nothing but waiting steps is left, of those whose time has come."""
    found: dict[UUID, Waiting] = {}
    for row in await database.fetch(query("sweep_waiting"), limit):
        waiting = found.setdefault(row["task_uuid"], Waiting(row["task_uuid"], row["state_since"], {}))
        assert isinstance(waiting.steps, dict)
        waiting.steps[row["name"]] = row["parents"]
    return list(found.values())


async def cycle_file(
    database: Database, waiting: Waiting, cycles: list[list[str]], thresholds: Thresholds
) -> str | None:
    """Files a task whose steps wait for each other, and ends it as its template says; None when it has moved since."""
    action: str | None = await database.fetchval(
        "select tasker.cycle_file($1, $2, $3, $4)",
        waiting.task_uuid,
        waiting.since,
        json.dumps({"cycles": cycles}),
        thresholds.json(),
    )
    return action


async def failures_file(database: Database, *, limit: int, files: bool) -> tuple[int, list[UUID]]:
    """Looks at tasks that failed since the last time: how many, and those for which an entry was made."""
    rows = await database.fetch("select * from tasker.failures_file($1, $2)", limit, files)
    return len(rows), [row["task_uuid"] for row in rows if row["dlq_entry_uuid"] is not None]


async def tasks_retain(database: Database, namespace: str, policy: Policy, *, limit: int) -> int:
    """Takes up to `limit` finished tasks away, those first that ended first; how many."""
    return int(
        await database.fetchval(
            "select tasker.tasks_retain($1, tasker.now() - $2::interval, $3, $4, $5)",
            namespace,
            policy.max_age,
            policy.max_count,
            limit,
            policy.archive,
        )
    )


async def retention_due(database: Database, policies: Mapping[str, Policy]) -> dict[str, int]:
    """How many finished tasks would be taken away, by namespace. Reads all tasks: for people, not for loops."""
    names = list(policies)
    ages = [policies[name].max_age for name in names]
    counts = [policies[name].max_count for name in names]
    rows = await database.fetch(query("retention_due"), names, ages, counts)
    return {row["namespace"]: row["tasks"] for row in rows}


async def namespaces(database: Database) -> list[str]:
    return [row["name"] for row in await database.fetch(query("namespaces"))]
