"""What a call reads does not grow with what waits, what is done, or what else is ready: counted in pages."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from tests.db.conftest import LEASE, Kernel, done

NOW = datetime(2026, 1, 1, tzinfo=UTC)
MANY = 50_000

FILL = {
    "waiting": """
        insert into pgmq.q_tests_queue (vt, message)
        select $1::timestamptz + n * interval '1 second', '{}' from generate_series(1, $2) n""",
    "ready": """
        insert into pgmq.q_tests_queue (vt, message, headers)
        select $1, '{}', jsonb_build_object('rank', 4102444800000000 + n) from generate_series(1, $2) n""",
    "done": """
        with task as (
            insert into tasker.tasks (task_uuid, template_id, namespace, state, state_since, steps_total, steps_done,
                                      rank, context, correlation_id, initiator, source_system, reason, created_at)
            select tasker.uuid7(), 1, 'tests', 'complete', $1, 1, 1, 0, '{}', tasker.uuid7(), 'me', 'tests', 'why', $1
            from generate_series(1, $2) returning task_uuid
        ), step as (
            insert into tasker.steps (step_uuid, task_uuid, position, name, template_step, state, state_since, waits_on,
                                      parents, children, reads, attempts, max_attempts, result)
            select tasker.uuid7(), task_uuid, 1, 'only', 'only', 'complete', $1, 0, '{}', '{}', '{}', 1, 3, '1'
            from task returning step_uuid, task_uuid
        )
        insert into tasker.step_history (task_uuid, step_uuid, from_state, to_state, at, attempt)
        select task_uuid, step_uuid, 'in_progress', 'complete', $1, 1 from step""",
}


async def pages(kernel: Kernel, call: str, *arguments: object) -> int:
    """How many pages the call touched, with everything it calls in turn."""
    plan = await kernel.connection.fetchval(f"explain (analyze, buffers, format json) select * from {call}", *arguments)
    top = json.loads(plan)[0]["Plan"]
    return top["Shared Hit Blocks"] + top["Shared Read Blocks"]


async def claim_pages(kernel: Kernel) -> int:
    return await pages(kernel, "tasker.steps_claim('w', array['tests'], 1, $1, null)", LEASE)


async def finish_pages(kernel: Kernel, task: UUID, step: UUID, attempt: int) -> int:
    return await pages(
        kernel,
        "tasker.steps_finish('w', array[$1::uuid], array[$2::uuid], array[$3::int], array['succeeded'],"
        " array['1']::json[], array[1]::float8[], array[null]::interval[], array[null]::json[], array[null]::json[],"
        " null, null, array['tests'], 1, $4, true, null)",
        task,
        step,
        attempt,
        LEASE,
    )


async def measured(kernel: Kernel, template: int) -> tuple[int, int, int]:
    """Pages of a claim, of a finish that takes the successor, and of a look at the queue."""
    await kernel.submit(template, 3, priority=1)
    for _ in range(2):  # the first one also reads what its plans are made of
        claiming = await claim_pages(kernel)
        task, step, attempt = await kernel.connection.fetchrow(
            "select task_uuid, step_uuid, attempts from tasker.steps where state = 'in_progress' and name = 'a'"
        )
        finishing = await finish_pages(kernel, task, step, attempt)
    (last,) = (await kernel.claim(want=1)).steps
    await kernel.finish(done(last), want=0)
    looking = await pages(kernel, "tasker.queue_next('tests')")
    return claiming, finishing, looking


@pytest.mark.parametrize("what", FILL)
async def test_no_call_reads_more_pages_where_50000_are(kernel, what):
    template = await kernel.template({"a": [], "b": ["a"]})
    await kernel.clock(NOW)
    before = await measured(kernel, template)
    await kernel.connection.execute("delete from pgmq.q_tests_queue")
    await kernel.connection.execute("delete from tasker.steps; delete from tasker.tasks")
    await kernel.connection.execute(FILL[what], NOW, MANY)
    await kernel.connection.execute("vacuum analyze")
    after = await measured(kernel, template)
    # The trees of a dozen indexes are a level or two higher than empty ones, and that is all.
    for small, large in zip(before, after, strict=True):
        assert large <= small + 20, (before, after)


async def test_a_claim_finds_its_messages_by_the_two_partial_indexes_alone(kernel):
    await kernel.clock(NOW)
    await kernel.submit(await kernel.template({"a": []}), 3)
    await kernel.connection.execute(FILL["waiting"], NOW + timedelta(days=1), 2000)
    await kernel.connection.execute("vacuum analyze")
    before = await scans(kernel)
    for _ in range(3):
        await kernel.claim(want=1)
    after = await scans(kernel)
    assert after["sequential"] == before["sequential"]
    assert after["q_tests_queue_ready"] > before["q_tests_queue_ready"]
    assert after["q_tests_queue_due"] > before["q_tests_queue_due"]


async def scans(kernel: Kernel) -> dict[str, int]:
    """Scans so far of the queue's table: of each index, and of the whole."""
    connection = kernel.connection
    await connection.execute("select pg_stat_force_next_flush()")
    rows = await connection.fetch(
        "select indexrelname, idx_scan from pg_stat_user_indexes where relname = 'q_tests_queue'"
        " union all select 'sequential', seq_scan from pg_stat_user_tables where relname = 'q_tests_queue'"
    )
    return dict(tuple(row) for row in rows)


async def batch_of(kernel: Kernel, template: int, count: int) -> UUID:
    """A task of so many queued workers of one batch."""
    (task,), _ = await kernel.submit(template)
    (plan,) = (await kernel.claim(want=1)).steps
    workers = {
        "name": "work",
        "parents": [["plan"]],
        "reads": None,
        "instances": [{"name": f"work_{number}", "inputs": None} for number in range(count)],
    }
    await kernel.finish(done(plan)._replace(expand=json.dumps({"steps": [workers], "links": []})))
    await kernel.connection.execute("vacuum analyze")
    return task


async def batch_template(kernel: Kernel) -> int:
    return await kernel.template(
        {"plan": [], "work": []}, steps={"work": {"initial": False, "parallelism": 5}}, namespace="tests"
    )


async def test_whether_a_task_is_stale_reads_each_of_its_steps_once(kernel):
    template = await batch_template(kernel)
    found = []
    for count in (500, 2000):
        task = await batch_of(kernel, template, count)
        found.append(await pages(kernel, "tasker.tasks_staleness(array[$1::uuid], '{}', true)", task))
        await kernel.connection.execute("delete from pgmq.q_tests_queue")
    assert found[1] <= 4 * found[0] + 200, found
