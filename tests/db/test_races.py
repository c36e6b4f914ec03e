"""Moments at which two calls meet, held still by locks of a third connection."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

from tasker_host.db.kernel import tasks_submit
from tests.db.conftest import AGING, failed, new_task
from tests.db.test_locking import is_waiting, waits

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ONE = {"only": []}


async def test_a_renewal_that_meets_a_finish_leaves_the_due_time_of_the_retry_alone(kernel, new_kernel):
    """A renewal that looked before the finish committed must not push the message after it."""
    renewer, blocker, watcher = await new_kernel(), await new_kernel(), await new_kernel()
    for each in (kernel, renewer):
        await each.clock(NOW)
    await kernel.submit(await kernel.template(ONE))
    (step,) = (await kernel.claim()).steps
    finish = kernel.connection.transaction()
    await finish.start()
    await kernel.finish(failed(step, retry_after=timedelta(hours=1)))
    block = blocker.connection.transaction()
    await block.start()
    blocking = asyncio.create_task(blocker.connection.execute("lock table pgmq.q_tests_queue"))
    await is_waiting(watcher, blocker)
    renewing = asyncio.create_task(renewer.renew(step))
    while not (renewing.done() or await waits(watcher, renewer)):
        await asyncio.sleep(0)
    await finish.commit()
    await blocking
    await block.rollback()
    assert await renewing == []
    assert await kernel.connection.fetchval("select vt from pgmq.q_tests_queue") == NOW + timedelta(hours=1)


async def test_batches_that_share_identities_in_opposite_orders_do_not_deadlock(kernel, new_kernel):
    template = await kernel.template(ONE)
    other = await new_kernel()
    names = [f"i{number:03}" for number in range(400)]
    forth = [new_task(template, identity=name) for name in names]
    back = [new_task(template, identity=name) for name in reversed(names)]
    first, second = await asyncio.gather(
        tasks_submit(kernel.connection, forth, aging_interval=AGING),
        tasks_submit(other.connection, back, aging_interval=AGING),
    )
    assert sum(first.created) + sum(second.created) == 400
    assert await kernel.messages() == 400
