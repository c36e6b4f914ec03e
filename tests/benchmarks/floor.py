"""The floor: what is left when a DAG runner does nothing but keep its word that a result is on disk (`floor.sql`)."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
from workloads import RESULT, Workload

BATCH = 100
SUBMIT_BATCH = 500

TAKE = """
delete from ready where id in (select id from ready order by id limit $1 for update skip locked) returning id
"""

# One statement, one commit, one round trip: results stored, children counted down, the next ones taken.
FINISH = """
with finished as (
    update jobs j set done = true, result = d.result
    from unnest($1::bigint[], $2::json[]) as d (id, result) where j.id = d.id
    returning j.children
), freed as (
    select child, count(*)::int as parents, row_number() over (order by child) as place
    from finished, unnest(children) as child group by child
), counted as (
    update jobs c set waits_on = c.waits_on - f.parents
    from freed f where c.id = f.child
    returning c.id, c.waits_on = 0 as is_ready, f.place <= $3 as is_taken
), left_for_later as (
    insert into ready select id from counted where is_ready and not is_taken
), taken as (
    delete from ready where id in (
        select id from ready order by id
        limit $3 - (select count(*) from counted where is_ready and is_taken) for update skip locked)
    returning id
)
select id from counted where is_ready and is_taken union all select id from taken
"""

# Without statistics the planner guesses badly at fresh tables; what it would choose with them is said here instead.
PLANS = {
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
}


class Floor:
    def __init__(self, connection: asyncpg.Connection, workload: Workload) -> None:
        self._connection = connection
        self._steps = workload.steps
        self._waits = [len(parents) for parents in workload.parents]
        self._children = json.dumps(workload.children())
        self._next_task = 0

    async def run(self, tasks: int) -> None:
        for first in range(0, tasks, SUBMIT_BATCH):
            size = min(SUBMIT_BATCH, tasks - first)
            await self._connection.fetchval(
                "select jobs_submit($1, $2, $3, $4)", self._next_task, size, self._waits, self._children
            )
            self._next_task += size
        rows = await self._connection.fetch(TAKE, BATCH)
        while rows:
            rows = await self._connection.fetch(FINISH, [row[0] for row in rows], [RESULT] * len(rows), BATCH)

    async def completed(self) -> int:
        done = (
            "select count(*) from (select id / $1 from jobs group by 1 having bool_and(done and result is not null)) t"
        )
        return int(await self._connection.fetchval(done, self._steps))


@asynccontextmanager
async def floor(dsn: str, workload: Workload) -> AsyncIterator[Floor]:
    connection = await asyncpg.connect(dsn, server_settings=PLANS)
    try:
        await connection.execute((Path(__file__).parent / "floor.sql").read_text())
        yield Floor(connection, workload)
    finally:
        await connection.close()
