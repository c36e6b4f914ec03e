"""Two real connections at a time: who waits for whom, and that nobody waits in a circle."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from tasker_host.db.kernel import Taken
from tests.db.conftest import done, failed

NOW = datetime(2026, 1, 1, tzinfo=UTC)


async def waits(watcher, waiter) -> bool:
    """Whether the connection of `waiter` waits for a lock."""
    return await watcher.connection.fetchval(
        "select wait_event_type is not distinct from 'Lock' from pg_stat_activity where pid = $1",
        waiter.connection.get_server_pid(),
    )


async def is_waiting(watcher, waiter) -> None:
    """Returns when the connection of `waiter` waits for a lock."""
    while not await waits(watcher, waiter):
        await asyncio.sleep(0)


async def operate(kernel, action: str, task) -> str | None:
    """Why nothing was done, else None."""
    return await kernel.connection.fetchval(
        "select refused from tasker.tasks_operate($1, array[$2::uuid], 'ada', 'r', '{}')", action, task
    )


async def siblings(kernel, count: int = 2):
    dag = {f"s{index}": [] for index in range(count)} | {"end": [f"s{index}" for index in range(count)]}
    (task,), _ = await kernel.submit(await kernel.template(dag))
    return task, (await kernel.claim()).steps


async def test_siblings_that_finish_at_once_wait_for_each_other_and_the_last_sees_that_it_is(kernel, new_kernel):
    _task, (first, second) = await siblings(kernel)
    other, watcher = await new_kernel(), await new_kernel()
    async with kernel.connection.transaction():
        assert (await kernel.finish(done(first), want=1)).steps == []
        waiting = asyncio.create_task(other.finish(done(second), want=1))
        await is_waiting(watcher, other)
    assert [step.name for step in (await waiting).steps] == ["end"]


async def test_batches_in_opposite_orders_do_not_deadlock(kernel, new_kernel):
    template = await kernel.template({"a": [], "b": []})
    await kernel.submit(template, 30)
    steps = (await kernel.claim()).steps
    ours = [step for step in steps if step.name == "a"]
    theirs = [step for step in steps if step.name == "b"][::-1]
    other = await new_kernel()
    for _ in range(3):
        await asyncio.gather(kernel.finish(*map(done, ours), want=0), other.finish(*map(done, theirs), want=0))
    assert await kernel.connection.fetchval("select count(*) from tasker.tasks where state = 'complete'") == 30


async def test_a_claim_waits_for_nobody(kernel, new_kernel):
    """Not for a finish of the same task, nor for a submission, a renewal or another claim."""
    _task, (first, second) = await siblings(kernel)
    template = await kernel.template({"x": []})
    await kernel.submit(template, 4)
    other = await new_kernel()
    await other.connection.execute("set lock_timeout = '1ms'")
    held = (await kernel.claim(want=1)).steps
    for call in (
        lambda: kernel.finish(done(first)),
        lambda: kernel.submit(template),
        lambda: kernel.claim("w", 1),
        lambda: kernel.renew(*held, second),
    ):
        transaction = kernel.connection.transaction()
        await transaction.start()
        await call()
        await other.claim("other", 1)
        await transaction.rollback()
    taken = await other.claim("other", 100)
    assert len(taken.steps) <= 4


async def test_a_claim_inside_a_finish_waits_for_nobody(kernel, new_kernel):
    """What is due belongs to a task that another finish has locked; what is ready has been taken a moment ago."""
    await kernel.clock(NOW)
    await kernel.submit(await kernel.template({"a": [], "b": []}))
    a, b = (await kernel.claim()).steps
    await kernel.finish(failed(a, retry_after=timedelta(seconds=1)))
    await kernel.submit(await kernel.template({"c": []}), 3)
    mine, *_ = (await kernel.claim("other", 1)).steps
    other = await new_kernel()
    await other.clock(NOW + timedelta(seconds=1))
    await other.connection.execute("set lock_timeout = '1ms'")
    async with kernel.connection.transaction():
        await kernel.finish(done(b))
        await kernel.claim(want=1)
        taken = await other.finish(done(mine), worker="other", want=5)
    assert [step.name for step in taken.steps] == ["c"]
    await other.clock(NOW + timedelta(seconds=2))
    assert [step.name for step in (await other.claim("other")).steps] == ["a"]


async def test_a_finish_waits_for_a_claim_that_is_taking_over_its_step_and_is_then_too_late(kernel, new_kernel):
    await kernel.clock(NOW)
    await kernel.submit(await kernel.template({"a": []}))
    (step,) = (await kernel.claim("slow")).steps
    thief, watcher = await new_kernel(), await new_kernel()
    await thief.clock(NOW + timedelta(minutes=1))
    async with thief.connection.transaction():
        assert [taken.attempt for taken in (await thief.claim("thief")).steps] == [2]
        finishing = asyncio.create_task(kernel.finish(done(step), worker="slow"))
        await is_waiting(watcher, kernel)
    assert (await finishing).superseded == [step.step_uuid]


async def test_a_finish_that_came_first_keeps_its_step_from_a_claim_that_would_take_it_over(kernel, new_kernel):
    await kernel.clock(NOW)
    await kernel.submit(await kernel.template({"a": []}))
    (step,) = (await kernel.claim("slow")).steps
    thief = await new_kernel()
    await thief.clock(NOW + timedelta(minutes=1))
    await thief.connection.execute("set lock_timeout = '1ms'")
    async with kernel.connection.transaction():
        assert (await kernel.finish(done(step), worker="slow")).superseded == []
        assert (await thief.claim("thief")).steps == []
    assert await kernel.messages() == 0
    assert await thief.claim("thief") == Taken(steps=[])


async def test_a_due_retry_whose_task_is_locked_is_left_for_the_next_round(kernel, new_kernel):
    await kernel.clock(NOW)
    (_task,), _ = await kernel.submit(await kernel.template({"a": [], "b": []}))
    a, b = (await kernel.claim()).steps
    await kernel.finish(failed(a, retry_after=timedelta(seconds=1)))
    other = await new_kernel()
    await other.clock(NOW + timedelta(seconds=1))
    await other.connection.execute("set lock_timeout = '1ms'")
    async with kernel.connection.transaction():
        await kernel.finish(done(b))
        skipped = await other.claim("other")
        assert skipped.steps == []
        assert skipped.next_due_seconds is not None
        assert 0 <= skipped.next_due_seconds < 0.1
    await other.clock(NOW + timedelta(seconds=2))
    assert [step.name for step in (await other.claim("other")).steps] == ["a"]


async def test_renewing_and_finishing_the_same_steps_do_not_deadlock(kernel, new_kernel):
    await kernel.submit(await kernel.template({"a": []}), 50)
    steps = (await kernel.claim()).steps
    other = await new_kernel()
    renewed, finished = await asyncio.gather(
        other.renew(*steps[::-1]), kernel.finish(*map(done, steps)), return_exceptions=True
    )
    assert not isinstance(renewed, Exception)
    assert not isinstance(finished, Exception)
    assert await kernel.messages() == 0


@pytest.mark.parametrize("action", ["cancel", "resolve_manually", "pause"])
async def test_an_operator_waits_for_a_claim_at_the_message_and_holds_no_step_then(kernel, new_kernel, action):
    """A claim locks messages, then steps."""
    (task,), _ = await kernel.submit(await kernel.template({"a": []}))
    operator, watcher = await new_kernel(), await new_kernel()
    await kernel.connection.execute("set lock_timeout = '1ms'")
    async with kernel.connection.transaction():
        await kernel.connection.execute("select from pgmq.q_tests_queue for update")
        operating = asyncio.create_task(operate(operator, action, task))
        await is_waiting(watcher, operator)
        await kernel.connection.execute("select from tasker.steps where task_uuid = $1 for no key update", task)
    assert await operating is None


@pytest.mark.parametrize("action", ["cancel", "resolve_manually", "pause"])
async def test_an_operator_and_who_frees_room_for_the_same_step_do_not_wait_in_a_circle(kernel, new_kernel, action):
    """Room goes to a parked step by its row among the parked ones, then by its message."""
    await kernel.submit(await kernel.template({"a": []}), 2)
    await kernel.connection.execute(
        "select tasker.limit_set('namespace:tests', 1, null, null, false, 'ada', 'one at a time')"
    )
    (running,) = (await kernel.claim()).steps
    parked = await kernel.connection.fetchval("select task_uuid from tasker.parked")
    operator, watcher = await new_kernel(), await new_kernel()
    await kernel.connection.execute("set lock_timeout = '1ms'")
    async with kernel.connection.transaction():
        await kernel.connection.execute("select from tasker.parked for update")
        operating = asyncio.create_task(operate(operator, action, parked))
        await is_waiting(watcher, operator)
        await kernel.finish(done(running))
    assert await operating is None
    assert await kernel.connection.fetchval("select running from tasker.limits where key = 'namespace:tests'") == 0


async def test_a_step_that_was_taken_while_its_task_was_cancelled_ends_on_its_own(kernel, new_kernel):
    (task,), _ = await kernel.submit(await kernel.template({"a": [], "b": []}))
    operator, watcher = await new_kernel(), await new_kernel()
    async with kernel.connection.transaction():
        (taken,) = (await kernel.claim(want=1)).steps
        cancelling = asyncio.create_task(operate(operator, "cancel", task))
        await is_waiting(watcher, operator)
    assert await cancelling is None
    assert (await kernel.finish(done(taken))).superseded == []
    states = await kernel.connection.fetch("select state from tasker.steps where task_uuid = $1 order by state", task)
    assert [row["state"] for row in states] == ["cancelled", "complete"]


async def test_a_step_that_was_taken_while_its_task_was_paused_keeps_its_lease(kernel, new_kernel):
    await kernel.clock(NOW)
    (task,), _ = await kernel.submit(await kernel.template({"a": [], "b": []}))
    operator, watcher = await new_kernel(), await new_kernel()
    await operator.clock(NOW)
    async with kernel.connection.transaction():
        (taken,) = (await kernel.claim(want=1)).steps
        pausing = asyncio.create_task(operate(operator, "pause", task))
        await is_waiting(watcher, operator)
    assert await pausing is None
    until = dict(await kernel.connection.fetch("select msg_id, vt::text from pgmq.q_tests_queue"))
    assert until.pop(taken.msg_id) != "infinity"
    assert list(until.values()) == ["infinity"]


async def test_a_renewal_does_not_wait_for_a_finish(kernel, new_kernel):
    _, (first, second) = await siblings(kernel)
    other = await new_kernel()
    await other.connection.execute("set lock_timeout = '1ms'")
    async with kernel.connection.transaction():
        await kernel.finish(done(first))
        assert await other.renew(second) == []


async def test_the_same_identity_submitted_twice_at_once_waits_and_is_refused_once(kernel, new_kernel):
    template = await kernel.template({"a": []})
    other, watcher = await new_kernel(), await new_kernel()
    async with kernel.connection.transaction():
        _, first = await kernel.submit(template, identity="same")
        waiting = asyncio.create_task(other.submit(template, identity="same"))
        await is_waiting(watcher, other)
    _, second = await waiting
    assert (first.created, second.created) == ([True], [False])


async def test_namespaces_made_at_once_all_get_their_queues(kernel, new_kernel):
    others = [await new_kernel() for _ in range(4)]
    await asyncio.gather(
        *(other.template({"a": []}, namespace=f"n{index % 2}") for index, other in enumerate(others)),
        return_exceptions=False,
    )
    for namespace in ("n0", "n1"):
        await kernel.submit(await kernel.template({"b": []}, namespace=namespace))
        assert len((await kernel.claim("w", 5, namespace)).steps) == 1
