"""The kernel by hand: templates, tasks and workers without a host."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from tasker_host.db.kernel import (
    NOBODY,
    Claimed,
    NewTask,
    Outcome,
    Submitted,
    Taken,
    Taker,
    steps_claim,
    steps_finish,
    steps_renew,
    tasks_submit,
)
from tasker_host.domain.ids import WorkerId, uuid7

LEASE = timedelta(seconds=30)
AGING = timedelta(seconds=300)


Moved = tuple[str | None, str | None, str | None]


class Kernel:
    """Calls on one connection; `clock` sets the time that they see."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self.connection = connection

    async def template(
        self,
        dag: Mapping[str, Sequence[str]],
        *,
        namespace: str = "tests",
        max_attempts: int = 3,
        on_failure: str = "block",
        steps: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> int:
        """The id of a template of these steps (name → parents); each reads the values of its parents.

        `steps` are more rules of its steps; those with `initial: False` a task gets while it runs.
        """
        position = {name: index for index, name in enumerate(dag, start=1)}
        children: dict[str, list[int]] = {name: [] for name in dag}
        for child, parents in dag.items():
            for parent in parents:
                children[parent].append(position[child])
        steps = [
            {
                "position": position[name],
                "name": name,
                "parents": [position[parent] for parent in parents],
                "children": children[name],
                "reads": [position[parent] for parent in parents],
                "max_attempts": max_attempts,
                **(steps or {}).get(name, {}),
            }
            for name, parents in dag.items()
        ]
        return await self.connection.fetchval(
            "select tasker.template_register($1, 't', '1.0.0', $2, $3, $4)",
            namespace,
            uuid4().hex * 2,
            json.dumps({"on_failure": on_failure}),
            json.dumps(steps),
        )

    async def submit(
        self,
        template: int,
        count: int = 1,
        *,
        priority: int = 0,
        identity: str | None = None,
        start_at: datetime | None = None,
        context: str = "{}",
        taker: Taker = NOBODY,
        tags: Sequence[str] = (),
        limit_keys: Mapping[str, str] | None = None,
    ) -> tuple[list[UUID], Submitted]:
        tasks = [
            new_task(template, priority, identity, start_at, context)._replace(
                tags=json.dumps(list(tags)) if tags else None,
                limit_keys=json.dumps(limit_keys) if limit_keys else None,
            )
            for _ in range(count)
        ]
        submitted = await tasks_submit(self.connection, tasks, aging_interval=AGING, taker=taker)
        return [task.task_uuid for task in tasks], submitted

    async def claim(
        self, worker: str = "w", want: int = 100, *namespaces: str, tags: Sequence[str] | None = None
    ) -> Taken:
        names = namespaces or ("tests",)
        return await steps_claim(self.connection, WorkerId(worker), names, want=want, lease=LEASE, tags=tags)

    async def finish(
        self,
        *outcomes: Outcome,
        worker: str = "w",
        want: int = 0,
        namespaces: Sequence[str] = ("tests",),
        look: bool = True,
        tags: Sequence[str] | None = None,
    ) -> Taken:
        return await steps_finish(
            self.connection, WorkerId(worker), outcomes, namespaces, want=want, lease=LEASE, look=look, tags=tags
        )

    async def renew(self, *held: Claimed, worker: str = "w") -> list[UUID]:
        return await steps_renew(self.connection, WorkerId(worker), held, lease=LEASE)

    async def operate(
        self, action: str, *tasks: UUID, **options: Any
    ) -> list[tuple[str | None, str | None, str | None]]:
        """(from, to, refused) of each task."""
        rows = await self.connection.fetch(
            "select * from tasker.tasks_operate($1, $2, 'ada', 'why', $3)", action, list(tasks), json.dumps(options)
        )
        return [(row["from_state"], row["to_state"], row["refused"]) for row in rows]

    async def repair(
        self, action: str, *steps: UUID, value: Any = None
    ) -> list[tuple[str | None, str | None, str | None]]:
        """(from, to, refused) of each step."""
        rows = await self.connection.fetch(
            "select * from tasker.steps_operate($1, $2, $3, 'ada', 'why')", action, list(steps), json.dumps(value)
        )
        return [(row["from_state"], row["to_state"], row["refused"]) for row in rows]

    async def limit(
        self, key: str, most: int | None = None, *, rate: float | None = None, paused: bool = False
    ) -> None:
        await self.connection.execute(
            "select tasker.limit_set($1, $2, $3, 1, $4, 'ada', 'why')", key, most, rate, paused
        )

    async def step(self, task: UUID, name: str) -> UUID:
        return await self.connection.fetchval(
            "select step_uuid from tasker.steps where task_uuid = $1 and name = $2", task, name
        )

    async def clock(self, now: datetime) -> None:
        await self.connection.execute("select set_config('tasker.now', $1, false)", now.isoformat())

    async def steps(self, task: UUID) -> dict[str, str]:
        """Name → state."""
        rows = await self.connection.fetch("select name, state from tasker.steps where task_uuid = $1", task)
        return dict(tuple(row) for row in rows)

    async def state(self, task: UUID) -> str:
        return await self.connection.fetchval("select state from tasker.tasks where task_uuid = $1", task)

    async def messages(self, namespace: str = "tests") -> int:
        return await self.connection.fetchval(f"select count(*) from pgmq.q_{namespace}_queue")


def new_task(
    template: int,
    priority: int = 0,
    identity: str | None = None,
    start_at: datetime | None = None,
    context: str = "{}",
) -> NewTask:
    task = uuid7()
    return NewTask(task, template, context, priority, identity, None, task, None, "me", "tests", "why", start_at)


def done(step: Claimed, value: Any = 1) -> Outcome:
    return Outcome(step.task_uuid, step.step_uuid, step.attempt, "succeeded", json.dumps(value), 1.0, None, None)


def failed(step: Claimed, *, retry_after: timedelta | None = None) -> Outcome:
    error = json.dumps({"message": "no"})
    return Outcome(step.task_uuid, step.step_uuid, step.attempt, "failed", error, 1.0, retry_after, None)


def released(step: Claimed, *, after: timedelta | None = None) -> Outcome:
    return Outcome(step.task_uuid, step.step_uuid, step.attempt, "released", None, None, after, None)


@pytest.fixture
async def new_kernel(dsn: str) -> AsyncIterator[Callable[[], Any]]:
    """Makes more of them on the same database, each with a connection of its own."""
    connections: list[asyncpg.Connection] = []

    async def new() -> Kernel:
        connections.append(await asyncpg.connect(dsn))
        return Kernel(connections[-1])

    yield new
    for connection in connections:
        connection.terminate()


@pytest.fixture
async def kernel(new_kernel: Callable[[], Any]) -> Kernel:
    return await new_kernel()
