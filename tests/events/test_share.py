"""Fast events of other hosts: who hears them, what is not carried, and that nothing waits for it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest
import structlog

from tasker_host import DomainEvent, StepContext, Subscriber, step_handler
from tasker_host.db.listen import FAST_EVENTS, Listener
from tasker_host.domain.ids import uuid7
from tasker_host.events.share import NOTIFICATION_BYTES, Share
from tests.events.test_publishing import Heard, declared, giving
from tests.support import chain, ended, plugin, running_host, submit

BOTH = [
    {"name": "a.fast", "delivery_mode": "fast"},
    {"name": "a.both", "delivery_mode": "broadcast"},
    {"name": "a.durable"},
]
SHARED = {"events__share__enabled": True}
LISTENING = """select count(*) from pg_stat_activity
               where datname = current_database() and query ilike 'listen%tasker.fast_events%'"""


@step_handler("large")
async def large(context: StepContext) -> str:
    return "x" * context.input["size"]


@step_handler("nothing")
async def nothing() -> None: ...


def shop(heard: Heard, *more: Subscriber) -> Any:
    """Publishes, and hears what is published."""
    subscribers = [Subscriber("s", ["a.*", "host.**"], heard.receive), *more]
    return plugin([large], [declared("large", *BOTH)], **giving(tasker_subscribers=subscribers))


def bystander(heard: Heard, *more: Subscriber) -> Any:
    """Hears what is published; its worker does something else."""
    subscribers = [Subscriber("s", ["a.*", "host.**"], heard.receive), *more]
    other = chain("t", "nothing").replace("tests", "others")
    return plugin([nothing], [other], **giving(tasker_subscribers=subscribers))


def domain(heard: Heard) -> list[DomainEvent]:
    return [event for event in heard.events if not event.event_name.startswith("host.")]


async def hearing(dsn: str, hosts: int) -> None:
    """Returns when so many connections listen to fast events."""
    connection = await asyncpg.connect(dsn)
    try:
        async with asyncio.timeout(10):
            while await connection.fetchval(LISTENING) < hosts:
                await asyncio.sleep(0.005)
    finally:
        await connection.close()


async def test_fast_and_broadcast_events_reach_the_subscribers_of_other_hosts_once(dsn):
    here, there, own = Heard(), Heard(), Heard()
    only = Subscriber("own", ["a.*"], own.receive, own_only=True)
    async with (
        running_host(dsn, shop(here), **SHARED) as host,
        running_host(dsn, bystander(there, only), **SHARED) as other,
    ):
        await hearing(dsn, 2)
        tasks = [await submit(host, "t", {"size": size}) for size in range(5)]
        await ended(host, *tasks)
        await there.until(10)
        await host.events.share.close(drain_seconds=5)
        rows = await host.database.fetch("select message from pgmq.q_tests_domain_events order by msg_id")
        sharing, theirs = host.events.summary()["sharing"], other.events.summary()
    # The stop of both has drained everything that was still on its way.
    assert [event.as_message() for event in there.events] == [event.as_message() for event in domain(here)]
    assert len(there.events) == 10
    assert own.events == []
    assert {event.event_name for event in domain(here)} == {"a.fast", "a.both"}
    broadcast = [json.loads(row["message"]) for row in rows if "a.both" in row["message"]]
    assert broadcast == [event.as_message() for event in there.events if event.event_name == "a.both"]
    assert (sharing["sent"], sharing["received"], sharing["lost"]) == (10, 0, 0)
    assert (theirs["sharing"]["sent"], theirs["sharing"]["received"]) == (0, 10)
    # Each is counted where it was published.
    assert theirs["fast_events"]["events_received"] == 0


async def test_by_default_nothing_is_shared(dsn):
    here, there = Heard(), Heard()
    async with running_host(dsn, shop(here)) as host, running_host(dsn, bystander(there)) as other:
        await ended(host, await submit(host, "t", {"size": 1}))
        await here.until(2)
        assert (host.events.share, other.events.share) == (None, None)
        assert host.events.summary()["sharing"] is None
    assert there.events == []


async def test_an_event_too_large_for_a_notification_costs_nothing_but_its_way_to_others(dsn):
    here, there = Heard(), Heard()
    with structlog.testing.capture_logs() as logs:
        async with (
            running_host(dsn, shop(here), **SHARED) as host,
            running_host(dsn, bystander(there), **SHARED),
        ):
            await hearing(dsn, 2)
            (row,) = await ended(host, await submit(host, "t", {"size": 9_000}))
            await ended(host, await submit(host, "t", {"size": 1}))
            await there.until(2)
            await host.events.share.close(drain_seconds=5)  # heard may be before the sender is told
            sharing = host.events.summary()["sharing"]
    assert row["status"] == "complete"
    assert [event.payload for event in there.events] == ["x", "x"]
    assert [len(event.payload) for event in domain(here)] == [9_000, 9_000, 1, 1]
    assert (sharing["too_large"], sharing["sent"]) == (2, 2)
    (told,) = [line for line in logs if line["event"] == "event too large to be shared"]
    assert (told["event_name"], told["most"]) == ("a.fast", NOTIFICATION_BYTES - 39)


async def test_a_notification_that_no_host_has_sent_hurts_nobody(dsn):
    there = Heard()
    async with running_host(dsn, bystander(there), **SHARED) as host:
        await hearing(dsn, 1)
        good = DomainEvent(uuid7(), "a.b", 1).as_message()
        for said in ("", "{", "[]", '{"from": 1, "events": []}', '{"from": "x", "events": [{}]}'):
            await host.database.fetch("select pg_notify($1, $2)", FAST_EVENTS, said)
        envelope = json.dumps({"from": "x", "events": [good]})
        await host.database.fetch("select pg_notify($1, $2)", FAST_EVENTS, envelope)
        await there.until(1)
        assert host.events.summary()["sharing"]["unreadable"] == 5


@asynccontextmanager
async def sharing(
    database: Any, *, queue_size: int = 1000
) -> AsyncIterator[tuple[Share, list[DomainEvent], list[str]]]:
    """A share, what another one hears of it, and the notifications themselves."""
    heard: list[DomainEvent] = []
    said: list[str] = []
    share = Share(database, lambda _: pytest.fail("heard its own"), queue_size=queue_size)
    other = Share(database, heard.append, queue_size=queue_size)
    ready = asyncio.Event()

    def read(payload: str) -> None:
        said.append(payload)
        share.hear(payload)
        other.hear(payload)

    listener = Listener(database, ["tasker.ready"], lambda _: ready.set(), read={FAST_EVENTS: read})
    listening = asyncio.create_task(listener.run())
    await asyncio.wait_for(ready.wait(), 10)
    try:
        yield share, heard, said
    finally:
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
        await share.close(drain_seconds=0)


async def until(heard: list[Any], count: int) -> None:
    async with asyncio.timeout(10):
        while len(heard) < count:
            await asyncio.sleep(0.001)


async def test_many_events_are_few_notifications_and_keep_their_order(database):
    async with sharing(database) as (share, heard, said):
        events = [DomainEvent(uuid7(), "a.b", {"n": n, "text": "ä€" * (n % 700)}) for n in range(500)]
        for event in events:
            share.share(event)
        share.start()
        await until(heard, 500)
    assert heard == events
    assert max(len(payload.encode()) for payload in said) <= 7_999
    # Each but the last has no room for the next event: at least half of the room is in use on average.
    assert len(said) <= 2 * sum(len(payload.encode()) for payload in said) / 7_999 + 1


async def test_an_event_that_fills_a_notification_to_the_last_byte_is_carried_and_one_more_byte_is_not(database):
    async with sharing(database) as (share, heard, said):
        empty = len(json.dumps(DomainEvent(uuid7(), "a.b", "").as_message(), separators=(",", ":")))
        room = NOTIFICATION_BYTES - 39 - empty
        share.share(DomainEvent(uuid7(), "a.b", "x" * (room + 1)))
        share.share(DomainEvent(uuid7(), "a.b", "x" * room))
        share.share(DomainEvent(uuid7(), "a.b", "y"))
        share.start()
        await until(heard, 2)
    assert [len(event.payload) for event in heard] == [room, 1]
    assert len(said[0].encode()) == 7_999
    assert share.stats()["too_large"] == 1


async def test_of_more_events_than_may_wait_the_oldest_are_dropped(database):
    async with sharing(database, queue_size=3) as (share, heard, _):
        for number in range(10):
            share.share(DomainEvent(uuid7(), "a.b", number))
        share.start()
        await until(heard, 3)
        await share.close(drain_seconds=5)  # heard may be before the sender is told
    assert [event.payload for event in heard] == [7, 8, 9]
    assert (share.stats()["dropped"], share.stats()["sent"]) == (7, 3)


async def test_events_of_a_call_that_the_database_lost_are_counted_and_later_ones_are_heard(database):
    async with sharing(database) as (share, heard, _):
        share.start()
        share.share(DomainEvent(uuid7(), "a.b", 1))
        await until(heard, 1)
        await database.fetch(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where datname = current_database() and application_name = 'tasker share'"
        )
        share.share(DomainEvent(uuid7(), "a.b", 2))
        async with asyncio.timeout(10):
            while share.lost + len(heard) < 2:
                await asyncio.sleep(0.001)
        share.share(DomainEvent(uuid7(), "a.b", 3))
        await until(heard, 3 - share.lost)
    assert [event.payload for event in heard] == ([1, 3] if share.lost else [1, 2, 3])
    assert len({event.event_id for event in heard}) == len(heard)


async def test_what_waits_at_the_stop_is_sent_or_said_to_be_dropped(database):
    async with sharing(database) as (share, heard, _):
        for number in range(3):
            share.share(DomainEvent(uuid7(), "a.b", number))
        share.start()
        assert await share.close(drain_seconds=5) == 0
        await until(heard, 3)
    held = Share(database, lambda _: None, queue_size=10)
    held.start()
    held.share(DomainEvent(uuid7(), "a.b", 1))
    with structlog.testing.capture_logs() as logs:
        assert await held.close(drain_seconds=0) == 1
    (told,) = [line for line in logs if line["event"] == "shared events dropped at the stop"]
    assert told["dropped"] == 1


async def test_a_host_that_only_polls_says_that_it_hears_nothing_of_others(dsn):
    with structlog.testing.capture_logs() as logs:
        async with running_host(dsn, bystander(Heard()), worker__mode="polling", **SHARED):
            pass
    assert [line["log_level"] for line in logs if line["event"] == "events of other hosts are not heard"] == ["warning"]
