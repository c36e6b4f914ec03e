"""What such systems are known to suffer from: lost wake-ups, cut connections, poison, transactions of strangers."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import Any

import asyncpg
import pytest
from structlog.testing import capture_logs

from tasker_host import StepContext, step_handler
from tasker_host.db.database import Database
from tasker_host.errors import DatabaseUnavailable, TaskExists
from tests.support import chain, ended, plugin, results, run_to_end, running_host, submit

POLL_SECONDS = 20.0


@step_handler("work")
async def work(context: StepContext) -> int:
    return context.attempt


@step_handler("after")
async def after(context: StepContext) -> int:
    return context.attempt


MADE = plugin([work, after], [chain("one", "work"), chain("two", "work", "after")])


@pytest.mark.parametrize("apart", [False, True], ids=["its own", "another host's"])
async def test_no_wake_up_is_lost_to_the_poll(dsn, apart):
    """The big one, with figures, is `tests/benchmarks/wakeup.py`."""
    async with (
        running_host(dsn, MADE, worker__poll_interval_seconds=POLL_SECONDS) as worker,
        running_host(dsn, MADE, worker=False) as other,
    ):
        submitter = other if apart else worker
        worst = 0.0
        for number in range(200):
            started = time.monotonic()
            await run_to_end(submitter, "one", {"n": number})
            worst = max(worst, time.monotonic() - started)
    # The poll comes after 15 s at the earliest.
    assert worst < POLL_SECONDS / 10


CUT = """
select count(pg_terminate_backend(pid)) from pg_stat_activity
where datname = current_database() and application_name like 'tasker %' and pid <> pg_backend_pid()
"""


async def test_all_connections_are_cut_again_and_again_and_nothing_is_lost(dsn):
    ran: Counter[Any] = Counter()

    @step_handler("count")
    async def count(context: StepContext) -> int:
        ran[context.task_uuid] += 1
        await asyncio.sleep(0.02)
        return context.attempt

    made = plugin([count, after], [chain("t", "count", "after")])
    killer = await asyncpg.connect(dsn)
    roles: set[str] = set()
    with capture_logs() as logs:
        async with running_host(dsn, made, database__breaker_failures=100, worker__lease_seconds=60) as host:
            tasks = []
            for number in range(8):
                tasks += [await again_and_again(host, "t", {"n": number, "m": m}) for m in range(5)]
                roles |= {
                    row[0].split()[1]
                    for row in await killer.fetch("select application_name from pg_stat_activity where datname ="
                                                  " current_database() and application_name like 'tasker %'")
                }  # fmt: skip
                assert await killer.fetchval(CUT) > 0
            rows = await ended(host, *tasks)
            # The listener is there again too: no task of another host waits for the poll.
            worker = host.worker.id
            assert await again(killer, "tasker listener", f"tasker worker {worker}")
    await killer.close()
    assert {row["status"] for row in rows} == {"complete"}
    assert [results(row) for row in rows] == [{"count": 1, "after": 1}] * 40
    assert set(ran.values()) == {1}
    assert {"listener", "worker"} <= roles
    assert [entry for entry in logs if entry["event"] == "loop failed, starting it again"] == []


async def again_and_again(host: Any, name: str, context: dict[str, Any]) -> Any:
    """Submits, as a client does that is told to try again; the key makes one task of them all."""
    async with asyncio.timeout(20):
        while True:
            try:
                return await submit(host, name, context, idempotency_key=str(context))
            except TaskExists as error:
                return error.task_uuid
            except DatabaseUnavailable:
                await asyncio.sleep(0.01)


async def again(connection: asyncpg.Connection, *roles: str) -> bool:
    async with asyncio.timeout(10):
        for role in roles:
            while not await connection.fetchval("select count(*) from pg_stat_activity where application_name like $1"
                                                " and datname = current_database()", role + "%"):  # fmt: skip
                await asyncio.sleep(0.02)
    return True


async def test_a_database_that_takes_no_changes_for_a_while_makes_no_result_a_failure(dsn):
    gate = asyncio.Event()

    @step_handler("waits")
    async def waits(context: StepContext) -> int:
        await gate.wait()
        return context.attempt

    made = plugin([waits, after], [chain("t", "waits", "after", max_attempts=1)])
    killer = await asyncpg.connect(dsn)
    name = await killer.fetchval("select current_database()")
    with capture_logs() as logs:
        async with running_host(dsn, made, database__breaker_failures=100, worker__lease_seconds=60) as host:
            tasks = [await submit(host, "t", {"n": number}) for number in range(3)]
            while host.worker.running < 3:
                await asyncio.sleep(0)
            await killer.execute(f'alter database "{name}" set default_transaction_read_only = on')
            await killer.execute(CUT)
            gate.set()
            while sum("read-only" in str(entry.get("error")) for entry in logs) < 2:
                await asyncio.sleep(0)
            with pytest.raises(DatabaseUnavailable):
                await submit(host, "t", {"n": 4})
            await killer.execute("set default_transaction_read_only = off")
            await killer.execute(f'alter database "{name}" reset default_transaction_read_only')
            await killer.execute(CUT)
            rows = await ended(host, *tasks)
    assert [results(row) for row in rows] == [{"waits": 1, "after": 1}] * 3
    assert [entry for entry in logs if entry["log_level"] == "error"] == []
    await killer.close()


async def test_a_stranger_idle_in_transaction_stops_nobody(dsn):
    """With a snapshot that keeps every dead row, and locks on rows of tasks that are not to run."""
    async with running_host(dsn, MADE) as host:
        paused = await submit(host, "two", {"paused": True}, start_at="2100-01-01T00:00:00Z")
        stranger = await asyncpg.connect(dsn)
        transaction = stranger.transaction(isolation="repeatable_read")
        await transaction.start()
        await stranger.fetchval("select count(*) from tasker.steps")
        for table in ("tasks", "steps"):
            await stranger.execute(f"select from tasker.{table} where task_uuid = $1 for update", paused)
        await stranger.execute("select from pgmq.q_tests_queue for update")
        tasks = [await submit(host, "two", {"n": number}) for number in range(100)]
        rows = await ended(host, *tasks)
        activity = "select state from pg_stat_activity where pid = $1"
        assert await host.database.fetchval(activity, stranger.get_server_pid()) == "idle in transaction"
        await transaction.rollback()
        await stranger.close()
    assert {row["status"] for row in rows} == {"complete"}


POISON = """
create function refuse() returns trigger language plpgsql as $$
begin
    if new.result::text like '%poison%' then raise exception 'no poison here'; end if;
    return new;
end $$;
create trigger refuse before update on tasker.steps for each row execute function refuse()
"""


async def test_an_outcome_that_the_database_refuses_holds_up_no_neighbour(dsn):
    gate = asyncio.Event()

    @step_handler("work")
    async def wait(context: StepContext) -> str:
        await gate.wait()
        return "poison" if context.input["n"] % 5 == 0 else "fine"

    database = Database(dsn)
    await database.open()
    async with database.acquire() as connection:
        await connection.execute(POISON)
    await database.close()
    async with running_host(dsn, plugin([wait], [chain("one", "work")]), worker__slots=40) as host:
        tasks = [await submit(host, "one", {"n": number}) for number in range(20)]
        while host.worker.running < 20:
            await asyncio.sleep(0.01)
        gate.set()  # all outcomes go in few calls
        rows = await ended(host, *tasks)
    statuses = ["blocked_by_failures" if number % 5 == 0 else "complete" for number in range(20)]
    assert [row["status"] for row in rows] == statuses
    assert "no poison here" in rows[0]["steps"][0]["error"]["message"]


async def test_a_stop_is_no_failed_attempt_however_often_it_happens(dsn):
    begun = asyncio.Event()

    @step_handler("work")
    async def hangs() -> None:
        begun.set()
        await asyncio.Event().wait()

    text = chain("one", "work", max_attempts=1)
    async with running_host(dsn, plugin([hangs], [text]), worker=False) as here:
        task = await submit(here, "one")
    for _ in range(3):
        begun.clear()
        async with running_host(dsn, plugin([hangs], [text]), worker__shutdown_grace_seconds=0):
            await begun.wait()
    async with running_host(dsn, plugin([work], [text])) as host:
        (row,) = await ended(host, task)
    assert (row["status"], results(row)) == ("complete", {"work": 1})
