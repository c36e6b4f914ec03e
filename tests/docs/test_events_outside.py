"""docs/events.md: what it says of services outside the host is tried on a database."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from types import ModuleType
from uuid import UUID

import pytest

from tasker_host.db.database import Database
from tests.docs.pages import page


@pytest.fixture
def example(monkeypatch) -> ModuleType:
    """What the examples of the page define."""
    module = ModuleType("an_example_of_events")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    for block in page("events").blocks("python"):
        exec(compile(block.text, str(block), "exec"), vars(module))
    return module


@pytest.fixture
async def queue(database: Database) -> Database:
    await database.fetch("select tasker.namespace_create('payments')")
    await database.fetch("create table bookings (id text primary key, cents int)")
    events = [
        {"event_id": str(UUID(int=n)), "event_name": name, "payload": {"cents": n}, "metadata": {}}
        for n, name in enumerate(["payment.processed", "payment.failed", "payment.processed"])
    ]
    await database.fetch("select tasker.events_send('payments', $1::jsonb)", json.dumps(events))
    return database


async def test_the_consumer_of_the_page_books_what_was_paid_once(example, queue, dsn):
    consumer = asyncio.create_task(example.ledger(dsn))
    async with asyncio.timeout(20):
        while await queue.fetchval("select count(*) from pgmq.q_payments_domain_events"):
            await asyncio.sleep(0.01)
    consumer.cancel()
    await asyncio.gather(consumer, return_exceptions=True)
    booked = [tuple(row) for row in await queue.fetch("select id, cents from bookings order by id")]
    assert booked == [(str(UUID(int=0)), 0), (str(UUID(int=2)), 2)]


async def test_a_plain_pgmq_client_reads_them_too(example, queue, dsn):
    assert await example.names(dsn) == ["payment.processed", "payment.failed", "payment.processed"]
    assert await queue.fetchval("select count(*) from pgmq.q_payments_domain_events") == 0


async def test_the_sql_of_the_page_reads_them_too(queue):
    (block,) = page("events").blocks("sql")
    read, book, delete = [re.sub(r"--.*", "", line).strip().rstrip(";") for line in block.text.splitlines()]
    rows = await queue.fetch(read)
    assert [json.loads(row["message"])["event_name"] for row in rows][1] == "payment.failed"
    for _ in range(2):
        await queue.fetch(book)
    assert await queue.fetchval("select count(*) from bookings") == 1
    assert await queue.fetchval(delete.replace("17", str(rows[0]["msg_id"]))) is True
