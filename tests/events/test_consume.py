"""Consuming durable events outside the host: leases, acknowledgement, and doing each thing once."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from tasker_host.db.database import Database
from tasker_host.db.relays import consumed_retain
from tasker_host.domain.json import json_array
from tasker_host.errors import DatabaseError, DatabaseUnavailable, InvalidRequest, LeaseLost
from tasker_host.events import Consumer, consume

QUEUE = "tests_domain_events"


def message(name: str, number: int = 1, **payload: Any) -> str:
    return json.dumps({"event_id": str(UUID(int=number)), "event_name": name, "payload": payload, "metadata": {}})


@pytest.fixture
async def queue(database: Database) -> AsyncIterator[Database]:
    await database.fetch("select tasker.namespace_create('tests')")
    return database


async def send(database: Database, *messages: str) -> None:
    await database.fetch("select tasker.events_send('tests', $1::jsonb)", json_array(messages))


async def left(database: Database, table: str = f"q_{QUEUE}") -> int:
    return await database.fetchval(f"select count(*) from pgmq.{table}")


def reading(dsn: str, **options: Any) -> Consumer:
    return consume(dsn, QUEUE, **{"poll_interval_seconds": 0.02, **options})


async def first(events: Consumer) -> Any:
    return await asyncio.wait_for(anext(events), 10)


async def nothing(events: Consumer) -> bool:
    """Whether nothing is shown now: everything that is in the queue was looked at."""
    try:
        await asyncio.wait_for(anext(events), 0.2)
    except TimeoutError:
        return True
    return False


async def test_events_come_in_their_order_and_are_gone_once_acknowledged(queue, dsn):
    await send(queue, *(message(f"a.{n}", n, n=n) for n in range(5)))
    seen = []
    async with reading(dsn, batch_size=2) as events:
        async for event in events:
            seen.append((event.event_name, event.payload["n"], event.attempt, event.event_id))
            await event.ack()
            if len(seen) == 5:
                break
    assert seen == [(f"a.{n}", n, 1, UUID(int=n)) for n in range(5)]
    assert await left(queue) == 0


async def test_an_event_that_is_sent_later_comes_too(queue, dsn):
    async with reading(dsn) as events:
        coming = asyncio.create_task(anext(events))
        await asyncio.sleep(0)
        await send(queue, message("a.later"))
        event = await asyncio.wait_for(coming, 10)
        await event.ack()
    assert event.event_name == "a.later"


async def test_what_was_not_acknowledged_comes_to_the_next_at_once(queue, dsn):
    await send(queue, message("a.b"))
    async with reading(dsn) as events:
        assert (await first(events)).attempt == 1
    async with reading(dsn) as events:
        assert (await first(events)).attempt == 2


async def test_an_error_in_the_loop_loses_nothing(queue, dsn):
    await send(queue, message("a.1", 1), message("a.2", 2))

    async def fails() -> None:
        async with reading(dsn) as events:
            async for _ in events:
                raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fails()
    assert await queue.fetchval(f"select count(*) from pgmq.q_{QUEUE} where vt <= now()") == 2


async def test_two_consumers_never_hold_the_same_event(queue, dsn):
    await send(queue, *(message("a.b", n) for n in range(60)))
    seen: list[UUID] = []

    async def consumer() -> None:
        async with reading(dsn, batch_size=7) as events:
            async for event in events:
                seen.append(event.event_id)
                await event.ack()
                if len(seen) >= 60:
                    return

    others = [asyncio.create_task(consumer()) for _ in range(3)]
    async with asyncio.timeout(20):
        while len(seen) < 60:
            await asyncio.sleep(0.01)
    for other in others:
        other.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    assert len(set(seen)) == len(seen) == 60


async def test_a_consumer_whose_closing_is_cut_short_leaves_no_connection_behind(queue, dsn):
    sessions = f"select count(*) from pg_stat_activity where application_name = 'tasker consumer {QUEUE}'"
    events = await reading(dsn).__aenter__()
    assert await queue.fetchval(sessions) == 1
    closing = asyncio.create_task(events.close())
    await asyncio.sleep(0)
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    async with asyncio.timeout(10):
        while await queue.fetchval(sessions):
            await asyncio.sleep(0)


async def test_a_lease_is_renewed_while_the_consumer_lives(queue, dsn):
    await send(queue, message("a.b"))
    async with reading(dsn, lease_seconds=1) as slow, reading(dsn) as other:
        event = await first(slow)
        before = await queue.fetchval(f"select vt from pgmq.q_{QUEUE}")
        async with asyncio.timeout(10):
            while await queue.fetchval(f"select vt from pgmq.q_{QUEUE}") <= before + timedelta(seconds=0.5):
                await asyncio.sleep(0.05)
        assert await nothing(other)
        await event.ack()
    assert await left(queue) == 0


async def test_an_event_that_somebody_else_took_stays_theirs(queue, dsn):
    await send(queue, message("a.b"), message("c.d"))
    async with reading(dsn) as mine:
        acknowledged, given_back = await first(mine), await first(mine)
        await queue.fetch(f"update pgmq.q_{QUEUE} set vt = now() + interval '1 hour', read_ct = 2")
        theirs = await queue.fetch(f"select msg_id, vt from pgmq.q_{QUEUE} order by msg_id")
        with pytest.raises(LeaseLost, match=r"00000001 \(a\.b\) is not this consumer's any more"):
            await acknowledged.ack()
        for each in (acknowledged, given_back):
            with pytest.raises(LeaseLost):
                await each.retry()
    assert await queue.fetch(f"select msg_id, vt from pgmq.q_{QUEUE} order by msg_id") == theirs


async def test_a_queue_whose_name_has_capitals_is_read_as_any_other(queue, dsn):
    await queue.fetch("select pgmq.create('Tests.Events')")
    await queue.fetch("select pgmq.send('Tests.Events', $1::jsonb)", message("a.b"))
    async with consume(dsn, "Tests.Events") as events:
        await (await first(events)).retry()
        await (await first(events)).ack()
    assert await queue.fetchval('select count(*) from pgmq."q_tests.events"') == 0


async def test_an_event_is_given_back_for_later(queue, dsn):
    await send(queue, message("a.b"))
    async with reading(dsn) as events:
        await (await first(events)).retry(3600)
        assert await nothing(events)
        assert await queue.fetchval(f"select vt > now() + interval '59 min' from pgmq.q_{QUEUE}")
        await queue.fetch(f"update pgmq.q_{QUEUE} set vt = now()")
        again = await first(events)
        assert again.attempt == 2
        await again.retry()
        assert (await first(events)).attempt == 3


async def test_acknowledged_events_are_kept_in_the_archive_if_asked(queue, dsn):
    await send(queue, message("a.b"))
    async with reading(dsn, archive=True) as events:
        await (await first(events)).ack()
    assert (await left(queue), await left(queue, f"a_{QUEUE}")) == (0, 1)


async def test_what_is_no_event_goes_to_the_archive_and_holds_up_nothing(queue, dsn):
    await queue.fetch(f"select pgmq.send('{QUEUE}', '[1, 2]')")
    await send(queue, message("a.b"))
    async with reading(dsn) as events:
        assert (await first(events)).event_name == "a.b"
        assert events.refused == 1
    assert await left(queue, f"a_{QUEUE}") == 1


async def test_what_was_shown_too_often_goes_to_the_archive(queue, dsn):
    await send(queue, message("a.b"))
    async with reading(dsn, max_attempts=2) as events:
        for attempt in (1, 2):
            event = await first(events)
            assert event.attempt == attempt
            await event.retry()
        assert await nothing(events)
    assert (await left(queue), await left(queue, f"a_{QUEUE}")) == (0, 1)


async def test_no_more_are_held_than_a_batch(queue, dsn):
    await send(queue, *(message("a.b", n) for n in range(5)))
    async with reading(dsn, batch_size=2) as events:
        one, two = await first(events), await first(events)
        assert await nothing(events)
        await one.ack()
        third = await first(events)
        assert {one.event_id, two.event_id, third.event_id} == {UUID(int=n) for n in range(3)}


# Once -----------------------------------------------------------------------------------------------------------------


async def test_an_event_that_comes_again_is_not_shown_again_to_who_has_done_it(queue, dsn):
    await send(queue, message("a.b"))
    async with reading(dsn, once="ledger") as events:
        await (await first(events)).ack()
        await send(queue, message("a.b"))
        assert await nothing(events)
        assert await left(queue) == 0
        await send(queue, message("a.b"))
    async with reading(dsn, once="mailer") as events:
        assert (await first(events)).event_id == UUID(int=1)


async def test_what_was_not_acknowledged_is_not_remembered_as_done(queue, dsn):
    await send(queue, message("a.b"))
    async with reading(dsn, once="ledger") as events:
        await (await first(events)).retry()
        await (await first(events)).ack()
    assert await queue.fetchval("select count(*) from tasker.consumed_events") == 1


async def test_what_consumers_have_done_is_forgotten_in_time(queue, dsn):
    await queue.fetch(
        "insert into tasker.consumed_events values ('ledger', 'a', now() - interval '3 d'), ('ledger', 'b', now())"
    )
    assert await consumed_retain(queue, timedelta(days=2)) == 1
    assert await queue.fetchval("select event_id from tasker.consumed_events") == "b"


async def undone(event: Any) -> None:
    async with event.transaction() as connection:
        await connection.execute("insert into books values ('undone')")
        raise ZeroDivisionError


@pytest.mark.parametrize("once", [None, "ledger"])
async def test_what_is_written_in_the_events_transaction_is_so_exactly_when_it_is_done(queue, dsn, once):
    await queue.fetch("create table books (event_id text)")
    await send(queue, message("a.b"))
    async with reading(dsn, once=once) as events:
        event = await first(events)
        with pytest.raises(ZeroDivisionError):
            await undone(event)
        assert await left(queue) == 1
        async with event.transaction() as connection:
            await connection.execute("insert into books values ($1)", str(event.event_id))
    assert await left(queue) == 0
    assert [row[0] for row in await queue.fetch("select event_id from books")] == [str(UUID(int=1))]


async def test_two_that_do_the_same_event_at_once_write_once(queue, dsn):
    await queue.fetch("create table books (event_id text)")
    await send(queue, message("a.b"), message("a.b"))

    async def book(events: Consumer, event: Any) -> str:
        try:
            async with event.transaction() as connection:
                await connection.execute("insert into books values ($1)", str(event.event_id))
        except LeaseLost as error:
            return str(error)
        return "booked"

    async with reading(dsn, once="ledger", batch_size=1) as one, reading(dsn, once="ledger", batch_size=1) as other:
        same = [await first(one), await first(other)]
        said = await asyncio.gather(book(one, same[0]), book(other, same[1]))
    assert said.count("booked") == 1
    assert [told for told in said if "was done already as 'ledger'; nothing was written" in told]
    assert await queue.fetchval("select count(*) from books") == 1


# Trouble --------------------------------------------------------------------------------------------------------------


async def test_a_queue_that_is_not_there_is_told(queue, dsn):
    with pytest.raises(DatabaseError, match="no queue 'nobody_domain_events'"):
        async with consume(dsn, "nobody_domain_events"):
            pass


async def test_a_database_that_is_not_there_is_told():
    with pytest.raises(DatabaseUnavailable):
        async with consume("postgresql://nobody@127.0.0.1:1/none", QUEUE):
            pass


async def test_a_database_that_goes_away_is_waited_for(queue, dsn):
    async with reading(dsn) as events:
        coming = asyncio.create_task(anext(events))
        await asyncio.sleep(0.05)
        await queue.fetch(
            "select pg_terminate_backend(pid) from pg_stat_activity where application_name like 'tasker consumer%'"
            " and datname = current_database()"
        )
        await send(queue, message("a.b"))
        await (await asyncio.wait_for(coming, 10)).ack()
    assert await left(queue) == 0


@pytest.mark.parametrize(
    ("queue", "arguments", "told"),
    [
        ("tests_queue", {}, "'tests_queue' is a queue of the steps of a namespace, which the host itself reads"),
        ("erp_relay", {}, "'erp_relay' is a queue of a relay"),
        ("orchestration_task_requests", {}, "is a queue of requests for tasks"),
        (QUEUE, {"lease_seconds": 0}, "lease_seconds must be a whole number from 1 to 1000000 (got 0)"),
        (QUEUE, {"lease_seconds": "x"}, "lease_seconds must be a whole number from 1 to 1000000 (got 'x')"),
        (QUEUE, {"batch_size": 0}, "batch_size must be a whole number"),
        (QUEUE, {"max_attempts": 0}, "max_attempts must be a whole number"),
        (QUEUE, {"poll_interval_seconds": 0}, "poll_interval_seconds must be a number above 0"),
        (QUEUE, {"once": ""}, "once must be a name of up to 255 characters, or None (got '')"),
        (QUEUE, {"once": "x" * 256}, "once must be a name of up to 255 characters"),
        (QUEUE, {"once": "a\x00"}, "once must be a name of up to 255 characters"),
        (QUEUE, {"once": "\udcff"}, "once must be a name of up to 255 characters"),
        (None, {}, "queue must be the name of a queue (got None)"),
        (f"{QUEUE}\x00", {}, "queue must be the name of a queue"),
    ],
)
def test_what_would_empty_a_queue_or_never_end_is_refused(queue, arguments, told):
    with pytest.raises(InvalidRequest) as raised:
        consume("postgresql://localhost/x", queue, **arguments)
    assert told in str(raised.value)


async def test_a_database_without_pgmq_has_no_queue(new_database):
    with pytest.raises(DatabaseError, match="there is no queue 'tests_domain_events' in this database"):
        async with consume(new_database(empty=True), QUEUE):
            pass


async def test_a_role_that_may_not_read_is_told_what_it_lacks(queue, dsn):
    name = await queue.fetchval("select current_database()")
    role = f"nobody_{name}"
    await queue.fetch(f"create role {role}")
    try:
        with pytest.raises(DatabaseError, match="may not be read: permission denied for schema pgmq; grant its role"):
            async with consume(f"{dsn}{'&' if '?' in dsn else '?'}role={role}", QUEUE):
                pass
    finally:
        await queue.fetch(f"drop role {role}")


async def test_the_dead_events_of_a_relay_may_be_consumed(dsn, database):
    await database.fetch("select pgmq.create('erp_relay_dead')")
    await database.fetch("select pgmq.send('erp_relay_dead', $1::jsonb)", message("a.dead"))
    async with consume(dsn, "erp_relay_dead") as events:
        assert (await first(events)).event_name == "a.dead"


async def test_an_event_comes_again_no_sooner_than_was_asked(queue, dsn):
    await send(queue, message("a.b"))
    before = await queue.fetchval("select clock_timestamp()")
    async with reading(dsn) as events:
        await (await first(events)).retry(0.4)
    assert await queue.fetchval(f"select vt - $1 >= interval '0.4 seconds' from pgmq.q_{QUEUE}", before)


async def test_a_connection_that_is_lost_while_an_event_is_given_back_is_told_as_that(queue, dsn):
    await send(queue, message("a.b"))
    async with reading(dsn, lease_seconds=1) as events:
        event = await first(events)
        await queue.fetch(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where datname = current_database() and application_name = $1",
            f"tasker consumer {QUEUE}",
        )
        # Whether it is noticed before is the network's: then it is given back on another connection.
        with contextlib.suppress(DatabaseUnavailable):
            await event.retry()
        again = await first(events)
        assert (again.event_id, again.attempt) == (event.event_id, 2)
        await again.ack()
    assert await left(queue) == 0
