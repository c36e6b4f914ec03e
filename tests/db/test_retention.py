"""Retention takes away what is due, as a whole, and nothing else."""

from __future__ import annotations

import asyncio
import json
from datetime import datetime, timedelta
from uuid import UUID

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.db.conftest import Kernel, done, failed
from tests.db.test_locking import is_waiting
from tests.db.test_sweep import NOW, sweep, template

DAY = timedelta(days=1)
KEPT_WITH_A_TASK = ("steps", "task_history", "step_history", "dead_letters")


async def finished(kernel: Kernel, template: int, at: datetime, *, identity: str | None = None) -> UUID:
    """A task of one step that was complete at that time."""
    await kernel.clock(at)
    (task,), _ = await kernel.submit(template, identity=identity)
    await kernel.finish(*map(done, (await kernel.claim()).steps))
    return task


async def retain(
    kernel: Kernel, *, before: datetime | None = None, keep: int | None = None, limit: int = 100, archive: bool = False
) -> int:
    await kernel.connection.fetchval("select tasker.tasks_walk('finished', '0', 10000)")
    return await kernel.connection.fetchval(
        "select tasker.tasks_retain('tests', $1, $2, $3, $4)", before, keep, limit, archive
    )


async def there(kernel: Kernel, table: str = "tasks") -> set[UUID]:
    return {row[0] for row in await kernel.connection.fetch(f"select task_uuid from tasker.{table}")}


async def counted(kernel: Kernel) -> None:
    """The count says what the ledger says."""
    assert await kernel.connection.fetchval(
        "select coalesce((select tasks from tasker.finished_counts), 0) = (select count(*) from tasker.finished)"
    )


async def test_no_dead_letter_is_filed_of_a_task_that_is_going(kernel, new_kernel):
    task = await finished(kernel, await template(kernel, {"a": []}), NOW)
    person, watcher = await new_kernel(), await new_kernel()
    async with kernel.connection.transaction():
        assert await retain(kernel, before=NOW + DAY) == 1
        filing = asyncio.create_task(
            person.connection.fetchval("select tasker.dead_letter_manual($1, 'look', null)", task)
        )
        await is_waiting(watcher, person)
    assert await filing is None
    assert await there(kernel, "dead_letters") == set()


async def test_tasks_that_ended_before_go_and_take_everything_along(kernel):
    one = await template(kernel, {"a": []})
    old, new = await finished(kernel, one, NOW), await finished(kernel, one, NOW + DAY)
    for task in (old, new):
        await kernel.connection.fetchval(
            "select count(*) from tasker.dead_letters_file(array[$1::uuid], array['manual_dlq'], null)", task
        )
    assert await retain(kernel, before=NOW + timedelta(seconds=1)) == 1
    assert await there(kernel) == {new}
    for table in KEPT_WITH_A_TASK:
        assert await there(kernel, table) == {new}, table
    assert await retain(kernel, before=NOW + timedelta(seconds=1)) == 0
    await counted(kernel)


async def test_a_cancelled_task_goes_when_its_last_step_has_ended_and_left_its_limit(kernel):
    one = await template(kernel, {"a": []})
    await kernel.clock(NOW)
    await kernel.limit("namespace:tests", 1)
    (task,), _ = await kernel.submit(one)
    (step,) = (await kernel.claim()).steps
    await kernel.operate("cancel", task)
    assert await retain(kernel, before=NOW + DAY) == 0
    await kernel.finish(done(step))
    running = "select running from tasker.limits where key = 'namespace:tests'"
    assert await kernel.connection.fetchval(running) == 0
    assert await retain(kernel, before=NOW + DAY) == 1
    assert await there(kernel, "steps") == set()
    await counted(kernel)


async def test_what_is_owed_of_a_tasks_events_goes_along(kernel):
    task = await finished(kernel, await template(kernel, {"a": []}), NOW)
    await kernel.connection.execute(
        "insert into tasker.events_owed select step_uuid, 1, 'null', now() from tasker.steps where task_uuid = $1", task
    )
    assert await retain(kernel, before=NOW + DAY) == 1
    assert await kernel.connection.fetchval("select count(*) from tasker.events_owed") == 0


async def test_of_each_namespace_those_that_ended_last_are_kept(kernel):
    one = await template(kernel, {"a": []})
    tasks = [await finished(kernel, one, NOW + DAY * day) for day in (3, 1, 2)]
    assert await retain(kernel, keep=2) == 1
    assert await there(kernel) == {tasks[0], tasks[2]}
    assert await retain(kernel, keep=2) == 0
    await counted(kernel)


async def test_the_oldest_ends_go_first_in_small_batches(kernel):
    one = await template(kernel, {"a": []})
    tasks = [await finished(kernel, one, NOW + DAY * day) for day in (4, 0, 3, 1, 2)]
    assert await retain(kernel, before=NOW + DAY * 10, limit=2) == 2
    assert await there(kernel) == {tasks[0], tasks[2], tasks[4]}
    assert [await retain(kernel, before=NOW + DAY * 10, limit=2) for _ in range(3)] == [2, 1, 0]
    await counted(kernel)


async def test_what_has_not_ended_stays_whatever_its_age(kernel):
    await kernel.clock(NOW)
    chain = await template(kernel)
    one = await template(kernel, {"a": []})
    (running,), _ = await kernel.submit(chain)
    (blocked,), _ = await kernel.submit(one)
    held = {step.task_uuid: step for step in (await kernel.claim()).steps}
    await kernel.finish(failed(held[blocked]))
    (queued,), _ = await kernel.submit(chain)
    await kernel.clock(NOW + DAY * 100)
    assert await retain(kernel, before=NOW + DAY * 100, keep=0) == 0
    assert await there(kernel) == {running, blocked, queued}


async def test_a_task_that_ends_long_after_the_walk_passed_it_is_taken_away_too(kernel):
    await kernel.clock(NOW)
    (task,), _ = await kernel.submit(await template(kernel, {"a": []}))
    (step,) = (await kernel.claim()).steps
    assert await retain(kernel, before=NOW + DAY) == 0
    await kernel.clock(NOW + DAY)
    await kernel.finish(done(step))
    await sweep(kernel)
    assert await retain(kernel, before=NOW + DAY) == 0
    assert await retain(kernel, before=NOW + DAY * 2) == 1
    assert await there(kernel) == set()
    assert task
    await counted(kernel)


async def test_a_task_that_went_on_after_its_end_counts_from_its_later_end(kernel):
    task = await finished(kernel, await template(kernel, {"a": []}), NOW)
    assert await retain(kernel, before=NOW) == 0
    await kernel.connection.execute(
        "update tasker.tasks set state = 'steps_in_process', state_since = $1 where task_uuid = $2", NOW + DAY, task
    )
    assert await retain(kernel, before=NOW + DAY * 9) == 0
    await kernel.connection.execute(
        "update tasker.tasks set state = 'complete', state_since = $1 where task_uuid = $2", NOW + DAY * 2, task
    )
    await kernel.clock(NOW + DAY * 3)
    await sweep(kernel)
    assert await retain(kernel, before=NOW + DAY * 2) == 0
    assert await there(kernel) == {task}
    assert await retain(kernel, before=NOW + DAY * 3) == 1
    await counted(kernel)


async def test_an_identity_is_free_again(kernel):
    one = await template(kernel, {"a": []})
    await finished(kernel, one, NOW, identity="order-1")
    _, again = await kernel.submit(one, identity="order-1")
    assert again.created == [False]
    assert await retain(kernel, before=NOW + DAY) == 1
    _, again = await kernel.submit(one, identity="order-1")
    assert again.created == [True]


async def test_an_archived_task_is_one_document(kernel):
    task = await finished(kernel, await template(kernel, {"a": []}), NOW)
    assert await retain(kernel, before=NOW + DAY, archive=True) == 1
    (row,) = await kernel.connection.fetch("select * from tasker.archived_tasks")
    assert (row["task_uuid"], row["namespace"], row["ended_at"]) == (task, "tests", NOW)
    document = json.loads(row["document"])
    assert (document["task"]["state"], document["task"]["name"], document["task"]["version"]) == (
        "complete",
        "t",
        "1.0.0",
    )
    assert [(step["name"], step["result"]) for step in document["steps"]] == [("a", 1)]
    assert [event["to_state"] for event in document["task_history"]] == ["steps_in_process", "complete"]
    assert sorted(event["to_state"] for event in document["step_history"]) == ["complete", "in_progress"]
    assert await there(kernel) == set()


async def test_what_somebody_holds_is_left_for_the_next_time(kernel, new_kernel):
    one = await template(kernel, {"a": []})
    held, free = [await finished(kernel, one, NOW) for _ in range(2)]
    other = await new_kernel()
    async with other.connection.transaction():
        await other.connection.execute("select from tasker.tasks where task_uuid = $1 for update", held)
        assert await retain(kernel, before=NOW + DAY) == 1
        assert await there(kernel) == {held}
    assert await retain(kernel, before=NOW + DAY) == 1
    assert free
    await counted(kernel)


policies = st.tuples(
    st.none() | st.integers(0, 10),  # days before which a task must have ended
    st.none() | st.integers(0, 12),  # how many are kept
    st.integers(1, 5),  # in one batch
)


@pytest.mark.parametrize("archive", [False, True])
@given(ends=st.lists(st.integers(0, 9), max_size=12), policy=policies)
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
def test_what_is_not_due_stays_untouched(dsn, archive, ends, policy):
    before, keep, limit = policy

    async def check() -> None:
        connection = await asyncpg.connect(dsn)
        try:
            await connection.execute(
                "truncate tasker.tasks, tasker.steps, tasker.task_history, tasker.step_history, tasker.finished,"
                " tasker.finished_counts, tasker.walks, tasker.watches, tasker.archived_tasks"
            )
            kernel = Kernel(connection)
            one = await template(kernel, {"a": []})
            tasks = [(day, await finished(kernel, one, NOW + DAY * day)) for day in ends]
            by_end = sorted(tasks)
            gone = {task for day, task in by_end if before is not None and day < before}
            if keep is not None:
                gone |= {task for _, task in by_end[: max(0, len(by_end) - keep)]}
            whole = await documents(kernel)
            before_at = None if before is None else NOW + DAY * before
            while await retain(kernel, before=before_at, keep=keep, limit=limit, archive=archive):
                await counted(kernel)
            assert await documents(kernel) == {task: text for task, text in whole.items() if task not in gone}
            assert await there(kernel, "archived_tasks") == (gone if archive else set())
            for table in KEPT_WITH_A_TASK[:3]:
                assert await there(kernel, table) == whole.keys() - gone
        finally:
            await connection.close()

    asyncio.run(check())


async def documents(kernel: Kernel) -> dict[UUID, str]:
    rows = await kernel.connection.fetch("select task_uuid, tasker.task_document(task_uuid)::text from tasker.tasks")
    return {row[0]: row[1] for row in rows}


async def test_retention_waits_for_a_sweep_that_is_at_it(kernel, new_kernel):
    await finished(kernel, await template(kernel, {"a": []}), NOW)
    other = await new_kernel()
    async with other.connection.transaction():
        await other.connection.fetchval("select tasker.tasks_walk('near', '0', 10)")
        retaining = asyncio.create_task(retain(kernel, before=NOW + DAY))
        while not await other.connection.fetchval(
            "select exists (select from pg_locks where locktype = 'advisory' and not granted)"
        ):
            await asyncio.sleep(0)
        assert not retaining.done()
    assert await retaining == 1
