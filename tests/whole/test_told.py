"""What hosts tell those who write to the database themselves: their limits, and that they must be rung."""

from __future__ import annotations

import asyncio
import json

import asyncpg
import pytest

from tasker_host import Client, step_handler
from tasker_host.orchestration import told
from tests.support import chain, configured, ended, plugin, running_host


@step_handler("work")
async def work() -> str:
    return "done"


PLUGIN = plugin([work], [chain("t", "work"), chain("checked", "work") + "\ninput_schema: {type: object}"])


@pytest.fixture
async def connection(dsn):
    connection = await asyncpg.connect(dsn)
    yield connection
    await connection.close()


async def heard(connection: asyncpg.Connection, channel: str) -> asyncio.Queue[str]:
    """What is notified on a channel from now on."""
    bells: asyncio.Queue[str] = asyncio.Queue()
    await connection.add_listener(channel, lambda *said: bells.put_nowait(said[3]))
    return bells


@pytest.mark.parametrize("name", ["t", "checked"])
async def test_a_host_that_does_not_poll_runs_what_sql_wrote_without_a_further_word(dsn, connection, name):
    async with running_host(dsn, PLUGIN, worker__mode="event_driven") as host:
        task = await connection.fetchval(f"select tasker.task_submit('tests', '{name}')")
        (row,) = await ended(host, task)
    assert row["status"] == "complete"


async def test_a_host_that_does_not_poll_runs_what_a_client_wrote_in_a_transaction(dsn, connection):
    config = configured(dsn)
    async with running_host(dsn, PLUGIN, worker__mode="event_driven") as host, Client(config=config) as client:
        async with connection.transaction():
            task = await client.submit("tests", "t", {"n": 1}, connection=connection)
        (row,) = await ended(host, task)
    assert row["status"] == "complete"


async def test_a_host_that_does_not_poll_carries_out_requests_of_the_queue(dsn, connection):
    async with running_host(dsn, PLUGIN, worker__mode="event_driven") as host:
        request = json.dumps({"namespace": "tests", "name": "t"})
        await connection.execute(f"select pgmq.send('orchestration_task_requests', '{request}')")
        while not (tasks := await connection.fetch("select task_uuid from tasker.tasks")):
            await asyncio.sleep(0)
        (row,) = await ended(host, tasks[0][0])
    assert row["status"] == "complete"


async def test_where_all_hosts_poll_a_transaction_notifies_nobody(dsn, connection, database):
    other = await asyncpg.connect(dsn)
    bells = await heard(other, "tasker.work.tests")
    async with running_host(dsn, PLUGIN, worker=False) as host:
        await told.tell_settings(host.database, host.submissions.checks.options)
        await connection.execute("select tasker.task_submit('tests', 't')")
        await connection.execute("select pg_notify('tasker.work.tests', 'after')")
        assert await bells.get() == "after"
        await told.tell_event_driven(host.database)
        await connection.execute("select tasker.task_submit('tests', 't', '{\"n\": 1}')")
        assert await bells.get() == ""
        # An hour after the last of them has gone, nobody is rung.
        await connection.execute("update tasker.host_settings set event_driven_until = now()")
        await connection.execute("select tasker.task_submit('tests', 't', '{\"n\": 2}')")
        await connection.execute("select pg_notify('tasker.work.tests', 'again')")
        assert await bells.get() == "again"
    await other.close()


async def test_the_limits_of_the_host_that_started_last_hold_in_sql(dsn, connection):
    too_long = "select tasker.task_submit('tests', 't', json_build_object('a', repeat('x', 1100)))"
    too_deep = """select tasker.task_submit('tests', 't', '{"a": {"b": {}}}')"""
    limits = {"limits__context_max_bytes": 1024, "limits__context_max_depth": 2, "worker__aging_interval_seconds": 10}
    async with running_host(dsn, PLUGIN, **limits):
        with pytest.raises(asyncpg.CheckViolationError, match="1110 bytes, more than the 1024 allowed"):
            await connection.execute(too_long)
        with pytest.raises(asyncpg.CheckViolationError, match="nested more than 2 levels deep"):
            await connection.execute(too_deep)
        task = await connection.fetchval("select tasker.task_submit('tests', 't')")
    aging = await connection.fetchval("select aging_us from tasker.tasks where task_uuid = $1", task)
    assert aging == 10_000_000
    async with running_host(dsn, PLUGIN):
        await connection.execute(too_long)
        await connection.execute(too_deep)
