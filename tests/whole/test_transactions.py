"""What a handler writes through context.transaction() becomes true together with its completion, or not at all."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from tasker_host import PermanentError, StepContext, step_handler
from tasker_host.db.kernel import steps_claim
from tasker_host.domain.ids import WorkerId
from tests.support import chain, plugin, results, run_to_end, running_host, submit


@pytest.fixture
async def table(database):
    await database.fetch("create table ledger (entry text)")
    return lambda: database.fetch("select entry from ledger order by entry")


@step_handler("book")
async def book(context: StepContext) -> str:
    async with context.transaction() as connection:
        await connection.execute("insert into ledger values ($1)", f"attempt {context.attempt}")
    if context.input.get("fails") == context.attempt:
        raise RuntimeError("after the writes")
    return "booked"


async def test_what_it_wrote_is_there_when_the_step_is_complete(dsn, table):
    async with running_host(dsn, plugin([book], [chain("t", "book")])) as host:
        row = await run_to_end(host, "t")
    assert (row["status"], results(row)) == ("complete", {"book": "booked"})
    assert [entry["entry"] for entry in await table()] == ["attempt 1"]


async def test_what_a_failed_attempt_wrote_is_undone(dsn, table):
    async with running_host(dsn, plugin([book], [chain("t", "book", backoff="none")])) as host:
        row = await run_to_end(host, "t", {"fails": 1})
    assert row["status"] == "complete"
    assert [entry["entry"] for entry in await table()] == ["attempt 2"]


async def test_what_was_written_under_a_lost_lease_is_undone(dsn, database, table):
    begun = asyncio.Event()
    go_on = asyncio.Event()

    @step_handler("slow")
    async def slow(context: StepContext) -> None:
        async with context.transaction() as connection:
            await connection.execute("insert into ledger values ('late')")
        begun.set()
        await go_on.wait()

    async with running_host(dsn, plugin([slow], [chain("t", "slow")])) as host:
        task = await submit(host, "t")
        await begun.wait()
        # In one transaction: once the lease is over, the host's own worker may be the one that looks next.
        async with database.acquire() as connection, connection.transaction():
            await connection.execute("update pgmq.q_tests_queue set vt = now() - interval '1 second'")
            taken = await steps_claim(connection, WorkerId("other"), ["tests"], want=1, lease=timedelta(seconds=30))
        assert [step.attempt for step in taken.steps] == [2]
        go_on.set()
        while not host.worker.counts.superseded:
            await asyncio.sleep(0)
        assert await table() == []
        assert task == taken.steps[0].task_uuid


async def test_an_exception_in_the_block_undoes_it_and_the_handler_may_go_on(dsn, table):
    @step_handler("tries")
    async def tries(context: StepContext) -> str:
        try:
            async with context.transaction() as connection:
                await connection.execute("insert into ledger values ('one')")
                raise PermanentError("no")
        except PermanentError:
            return "went on"

    async with running_host(dsn, plugin([tries], [chain("t", "tries")])) as host:
        row = await run_to_end(host, "t")
    assert results(row) == {"tries": "went on"}
    assert await table() == []


async def test_the_steps_below_run_after_the_commit(dsn, table):
    @step_handler("reads")
    async def reads(context: StepContext) -> list[str]:
        async with context.transaction() as connection:
            return [row["entry"] for row in await connection.fetch("select entry from ledger")]

    async with running_host(dsn, plugin([book, reads], [chain("t", "book", "reads")])) as host:
        row = await run_to_end(host, "t")
    assert results(row)["reads"] == ["attempt 1"]


async def test_a_handler_in_a_thread_is_told_that_it_cannot(dsn):
    @step_handler("sync")
    def sync(context: StepContext) -> None:
        context.transaction()

    async with running_host(dsn, plugin([sync], [chain("t", "sync", max_attempts=1)])) as host:
        row = await run_to_end(host, "t")
    assert "is for async handlers" in row["steps"][0]["error"]["message"]
