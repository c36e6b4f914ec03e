"""A database or a role whose transactions are serializable by default: relays and consumers work side by side."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest

from tasker_host.db.database import Database
from tasker_host.events import consume
from tasker_host.events.relay import register
from tasker_host.hooks.relay import Relay
from tests.events.test_relay import loop_of, message, running, send, until

EVENTS = 100


@pytest.fixture(params=["serializable", "repeatable read"])
async def strict(dsn, request):
    """A database where that is the default."""
    connection = await asyncpg.connect(dsn)
    name = await connection.fetchval("select current_database()")
    await connection.execute(f"alter database {name} set default_transaction_isolation = '{request.param}'")
    await connection.close()
    database = Database(dsn, pool_size=4)
    await database.open()
    await database.fetch("select tasker.namespace_create('tests')")
    yield database
    await database.close()


async def test_the_connections_of_a_host_are_read_committed(strict):
    own = await strict.connect(role="test")
    assert await own.fetchval("show transaction_isolation") == "read committed"
    assert await strict.fetchval("show transaction_isolation") == "read committed"
    await own.close()


async def test_hosts_that_run_an_ordered_relay_deliver_every_event_once(strict):
    delivered = []

    async def deliver(event):
        delivered.append(event.payload["n"])

    await register(strict, "p", Relay("erp", ["#"], deliver, ordered_by="payload.key"))
    loops = [loop_of(strict, deliver, ordered_by="payload.key") for _ in range(3)]
    async with running(*loops):
        for start in range(0, EVENTS, 10):
            await send(strict, *(message("a.b", n=n, key=str(n % 5)) for n in range(start, start + 10)))
        await until(lambda: len(delivered) >= EVENTS)
    assert sorted(delivered) == list(range(EVENTS))


async def test_consumers_of_one_queue_are_given_every_event_once(strict):
    await send(strict, *(message("a.b", n=n) for n in range(EVENTS)))
    seen = []

    async def consumer():
        async with consume(strict.dsn, "tests_domain_events", batch_size=7) as events:
            async for event in events:
                seen.append(event.payload["n"])
                await event.ack()

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(consumer()) for _ in range(3)]
        await until(lambda: len(seen) >= EVENTS)
        for task in tasks:
            task.cancel()
    assert sorted(seen) == list(range(EVENTS))
