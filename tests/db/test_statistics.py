"""Whatever the planner believes of a queue: of one that nothing waits in, it believes that nothing ever does."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import pytest

from tasker_host.db.kernel import Checkpointed, steps_checkpoint
from tasker_host.domain.ids import WorkerId
from tests.db.conftest import LEASE, Kernel, done, failed, released

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)
MANY = 2_000
SOME = 50
CHAIN = {"a": [], "b": ["a"]}
TAKE_STATISTICS = "vacuum (analyze, truncate false)"


async def worked_off(kernel: Kernel, template: int) -> None:
    """Leaves an empty queue of many pages."""
    await kernel.submit(template, 200)
    taken = (await kernel.claim(want=200)).steps
    while taken:
        taken = (await kernel.finish(*map(done, taken), want=200)).steps


async def never_used(kernel: Kernel, template: int) -> None:
    pass


async def one_waiting(kernel: Kernel, template: int) -> None:
    await kernel.submit(template)
    (step,) = (await kernel.claim(want=1)).steps
    await kernel.finish(failed(step))


BEFORE = [worked_off, never_used, one_waiting]


@pytest.mark.parametrize("before", BEFORE, ids=lambda before: before.__name__)
async def test_a_claim_takes_what_it_wants_and_no_more(new_kernel, before):
    first = await new_kernel()
    template = await first.template(CHAIN)
    await before(first, template)
    await first.connection.execute(TAKE_STATISTICS)
    kernel = await new_kernel()
    await kernel.submit(template, 500)
    for _ in range(3):
        assert len((await kernel.claim(want=SOME)).steps) == SOME
    taken = (await kernel.claim(want=SOME, tags=["gpu"])).steps
    assert len(taken) == SOME
    assert len((await kernel.finish(*map(done, taken), want=20)).steps) == 20


async def test_no_more_steps_that_are_due_are_taken_than_wanted(new_kernel):
    first = await new_kernel()
    await first.clock(NOW)
    template = await first.template(CHAIN)
    await worked_off(first, template)
    await first.connection.execute(TAKE_STATISTICS)
    kernel = await new_kernel()
    await kernel.clock(NOW)
    await kernel.submit(template, 500)
    await kernel.claim("gone", want=500)
    await kernel.clock(NOW + 2 * LEASE)
    for _ in range(3):
        assert len((await kernel.claim(want=SOME)).steps) == SOME


async def test_no_more_of_what_waits_for_room_comes_back_than_there_is_room_for(new_kernel):
    first = await new_kernel()
    template = await first.template(CHAIN)
    await first.limit("namespace:tests", 2)
    await worked_off(first, template)
    await first.connection.execute("vacuum (analyze, truncate false) tasker.parked")
    kernel = await new_kernel()
    await kernel.submit(template, 100)
    running = (await kernel.claim()).steps
    assert len(running) == 2
    await kernel.finish(*map(done, running))
    parked = await kernel.connection.fetchval("select count(*) from tasker.parked")
    queued = await kernel.connection.fetchval(
        "select count(*) from pgmq.q_tests_queue where headers -> 'rank' is not null"
    )
    assert (parked, queued) == (96, 4)  # two for the room, and the steps after those that are done


async def read_of_queue(kernel: Kernel, call: Callable[[], Awaitable[object]]) -> int:
    """Rows of the queue that are read by one call and everything that it calls in turn."""
    # Counts not yet handed to the statistics of all sessions; within a transaction none are.
    count = """select seq_tup_read + coalesce(idx_tup_fetch, 0) from pg_stat_xact_user_tables
               where relname = 'q_tests_queue'"""
    async with kernel.connection.transaction():
        before = await kernel.connection.fetchval(count)
        await call()
        return await kernel.connection.fetchval(count) - before


@pytest.mark.parametrize("before", BEFORE, ids=lambda before: before.__name__)
async def test_a_call_reads_the_messages_that_it_is_about_and_not_all_that_wait(new_kernel, before):
    first = await new_kernel()
    template = await first.template(CHAIN)
    await first.clock(NOW)
    await before(first, template)
    await first.connection.execute(TAKE_STATISTICS)
    kernel = await new_kernel()
    await kernel.clock(NOW)

    async def calls() -> dict[str, int]:
        steps = []

        async def claim() -> None:
            nonlocal steps
            steps = (await kernel.claim(want=SOME)).steps

        async def checkpoint() -> None:
            cut = [Checkpointed(s.namespace, s.step_uuid, s.attempt, s.msg_id, '{"cursor": 1}') for s in steps]
            await steps_checkpoint(kernel.connection, WorkerId("w"), cut, lease=LEASE)

        async def finish(*outcomes) -> None:
            nonlocal steps
            steps = (await kernel.finish(*outcomes, want=SOME)).steps

        return {
            "claim": await read_of_queue(kernel, claim),
            "renew": await read_of_queue(kernel, lambda: kernel.renew(*steps)),
            "checkpoint": await read_of_queue(kernel, checkpoint),
            "retry": await read_of_queue(kernel, lambda: finish(*(failed(step, retry_after=SECOND) for step in steps))),
            "release": await read_of_queue(kernel, lambda: finish(*map(released, steps))),
            "finish": await read_of_queue(kernel, lambda: finish(*map(done, steps))),
        }

    # Plans are made while the queue is as its statistics say, and kept.
    await kernel.submit(template, 4 * SOME)
    await calls()
    for _ in range(MANY // 500):
        await kernel.submit(template, 500)
    read = await calls()
    assert {call: rows for call, rows in read.items() if rows > 10 * SOME} == {}
