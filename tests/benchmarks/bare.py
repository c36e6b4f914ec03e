"""Bare: the kernel's calls in a loop, one after the other, on one connection; no host, no handlers."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import asyncpg
from plugin import NAMESPACE, template
from workloads import KERNEL_COMPLETED, RESULT, Workload

from tasker_host.db.database import Database
from tasker_host.db.kernel import NewTask, Outcome, steps_claim, steps_finish, tasks_submit
from tasker_host.db.migrate import migrate
from tasker_host.domain.ids import WorkerId, uuid7
from tasker_host.orchestration.catalog import shape

BATCH = 100
SUBMIT_BATCH = 500
WORKER = WorkerId("bare")
AGING_INTERVAL = timedelta(seconds=300)
LEASE = timedelta(seconds=30)


class Bare:
    def __init__(self, connection: asyncpg.Connection, template_id: int) -> None:
        self._connection = connection
        self._template_id = template_id
        self._next_task = 0

    async def run(self, tasks: int) -> None:
        for first in range(0, tasks, SUBMIT_BATCH):
            new = [self._new_task() for _ in range(min(SUBMIT_BATCH, tasks - first))]
            await tasks_submit(self._connection, new, aging_interval=AGING_INTERVAL)
        taken = await steps_claim(self._connection, WORKER, [NAMESPACE], want=BATCH, lease=LEASE)
        while taken.steps:
            outcomes = [
                Outcome(step.task_uuid, step.step_uuid, step.attempt, "succeeded", RESULT, 0.1, None, None)
                for step in taken.steps
            ]
            taken = await steps_finish(self._connection, WORKER, outcomes, [NAMESPACE], want=BATCH, lease=LEASE)

    async def completed(self) -> int:
        return int(await self._connection.fetchval(KERNEL_COMPLETED))

    def _new_task(self) -> NewTask:
        self._next_task += 1
        return NewTask(
            task_uuid=uuid7(),
            template_id=self._template_id,
            context=f'{{"n":{self._next_task}}}',
            priority=0,
            identity_key=os.urandom(32).hex(),  # like the product's: the index that keeps tasks apart is written too
            tags=None,
            correlation_id=uuid7(),
            parent_correlation_id=None,
            initiator="benchmark",
            source_system="benchmark",
            reason="measured",
            start_at=None,
        )


@asynccontextmanager
async def bare(dsn: str, workload: Workload) -> AsyncIterator[Bare]:
    await migrate(Database(dsn))
    connection = await asyncpg.connect(dsn)
    try:
        template_id = await connection.fetchval(
            "select tasker.template_register($1, $2, '1.0.0', $3, '{}', $4)",
            NAMESPACE,
            workload.name,
            template(workload).sha256(),
            json.dumps(shape(template(workload))),
        )
        yield Bare(connection, template_id)
    finally:
        await connection.close()
