"""A server that answers and takes no writes, as after a failover: all wait for one that does, and nothing is lost."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from tasker_host import Relay, StepContext, step_handler
from tasker_host.errors import DatabaseUnavailable
from tasker_host.events import consume
from tests.support import ended, plugin, running_host, submit

TEMPLATE = json.dumps(
    {
        "name": "wait",
        "namespace_name": "tests",
        "version": "1.0.0",
        "steps": [
            {
                "name": "wait",
                "handler": {"callable": "wait"},
                "retry": {"max_attempts": 1},
                "publishes_events": [{"name": "wait.over"}],
            }
        ],
    }
)
OTHERS = "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> $1"


@asynccontextmanager
async def read_only(dsn: str) -> AsyncIterator[None]:
    """Meanwhile every connection of others is lost, and each new one takes no writes."""
    connection = await asyncpg.connect(dsn)
    name = await connection.fetchval("select current_database()")
    try:
        await connection.execute(f"alter database {name} set default_transaction_read_only = on")
        await connection.fetch(OTHERS, connection.get_server_pid())
        yield
    finally:
        # Whoever connected meanwhile stays as it is: a host has to come by another connection itself.
        await connection.execute(f"alter database {name} reset default_transaction_read_only")
        await connection.close()


async def until(true: Callable[[], Coroutine[Any, Any, bool]]) -> None:
    async with asyncio.timeout(15):
        while not await true():
            await asyncio.sleep(0)


@pytest.mark.timeout(60)
async def test_a_result_is_kept_until_it_can_be_written_and_its_event_reaches_relay_and_consumer(dsn):
    begun, go_on, delivered, consumed = asyncio.Event(), asyncio.Event(), asyncio.Queue[UUID](), asyncio.Queue[UUID]()

    @step_handler("wait")
    async def wait(context: StepContext) -> int:
        begun.set()
        await go_on.wait()
        return context.attempt

    async def deliver(event):
        delivered.put_nowait(event.event_id)

    async def read() -> None:
        async with consume(dsn, "tests_domain_events", poll_interval_seconds=0.1) as events:
            async for event in events:
                consumed.put_nowait(event.event_id)
                await event.ack()

    given = plugin([wait], [TEMPLATE], tasker_relays=lambda: [Relay("erp", ["#"], deliver)])
    async with running_host(dsn, given) as host, asyncio.TaskGroup() as group:
        reading = group.create_task(read())
        task = await submit(host, "wait")
        await asyncio.wait_for(begun.wait(), 10)
        async with read_only(dsn):

            async def is_told() -> bool:
                """The first may meet a connection that was cut, which is told in other words."""
                with pytest.raises(DatabaseUnavailable) as raised:
                    await submit(host, "wait", {"n": 2})
                return "takes no writes: cannot execute" in str(raised.value)

            await until(is_told)
            go_on.set()
            watch = await asyncpg.connect(dsn)

            async def is_tried() -> bool:
                """Whether the worker has come with the result on a connection of this time."""
                query = (
                    "select from pg_stat_activity where datname = current_database() and query like '%steps_finish%'"
                )
                return bool(await watch.fetch(f"{query} and pid <> pg_backend_pid()"))

            await until(is_tried)
            await watch.close()
        (row,) = await ended(host, task)
        first, second = await asyncio.wait_for(asyncio.gather(delivered.get(), consumed.get()), 20)
        reading.cancel()
    assert (row["steps"][0]["current_state"], row["steps"][0]["result"]) == ("complete", 1)
    assert first == second
    assert delivered.empty()
    assert consumed.empty()
