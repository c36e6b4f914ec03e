"""The loop of a relay: what is delivered, tried again and given up, by one process and by many."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from tasker_host.db.database import Database
from tasker_host.db.relays import relay_remove, relay_resume, relays_stats
from tasker_host.domain.backoff import BackoffPolicy
from tasker_host.domain.json import json_array
from tasker_host.errors import DatabaseUnavailable, PermanentError, RetryableError, TargetGone
from tasker_host.events.delivery import RelayOptions
from tasker_host.events.relay import RelayLoop, register
from tasker_host.hooks.relay import Relay

SOON = BackoffPolicy(base_ms=0, max_ms=0)
OPTIONS = {"backoff": SOON, "poll_interval_seconds": 0.05}


def message(name: str, **payload: Any) -> str:
    return json.dumps(
        {"event_id": str(uuid4()), "event_name": name, "payload": payload, "metadata": {"namespace": "tests"}}
    )


async def send(database: Database, *messages: str) -> None:
    await database.fetch("select tasker.events_send('tests', $1::jsonb)", json_array(messages))


def loop_of(
    database: Database, deliver: Callable[..., Any], *, ordered_by: str | None = None, **options: Any
) -> RelayLoop:
    relay = Relay("erp", ["#"], deliver, ordered_by=ordered_by)
    return RelayLoop(relay, "p", database, RelayOptions(**{**OPTIONS, **options}))


@asynccontextmanager
async def running(*loops: RelayLoop, grace_seconds: float = 5) -> AsyncIterator[None]:
    async with asyncio.TaskGroup() as group:
        for loop in loops:
            group.create_task(loop.run())
        try:
            yield
        finally:
            await asyncio.gather(*(loop.stop(grace_seconds=grace_seconds) for loop in loops))


async def until(true: Callable[[], Awaitable[Any] | Any], timeout_seconds: float = 10) -> None:
    async with asyncio.timeout(timeout_seconds):
        while True:
            found = true()
            if await found if asyncio.iscoroutine(found) else found:
                return
            await asyncio.sleep(0.01)


@pytest.fixture
async def bound(database: Database) -> Database:
    await database.fetch("select tasker.namespace_create('tests')")
    await register(database, "p", Relay("erp", ["#"], print))
    return database


async def stats(database: Database) -> dict[str, Any]:
    (found,) = await relays_stats(database)
    return found


async def counts(database: Database) -> tuple[int, int, int, int]:
    """Delivered, retried, dead, waiting."""
    found = await stats(database)
    return found["delivered"], found["retried"], found["dead"], found["waiting"]


async def test_every_event_is_delivered_once_as_it_was_sent(bound):
    seen = []

    async def deliver(event):
        seen.append((event.event_name, event.payload, event.metadata["namespace"]))

    await send(bound, *(message(f"a.{n}", n=n) for n in range(250)))
    async with running(loop_of(bound, deliver)):
        await until(lambda: len(seen) == 250)
        await send(bound, message("a.later", n=1))
        await until(lambda: len(seen) == 251)
    assert sorted(seen) == sorted(
        [*((f"a.{n}", {"n": n}, "tests") for n in range(250)), ("a.later", {"n": 1}, "tests")]
    )
    assert await counts(bound) == (251, 0, 0, 0)


async def test_a_plain_function_delivers_in_a_thread_and_many_at_once(bound):
    together = threading.Barrier(4, timeout=10)

    def deliver(event):
        together.wait()

    await send(bound, *(message("a.b") for _ in range(8)))
    async with running(loop_of(bound, deliver, concurrency=4)):
        await until(lambda: counts_are(bound, (8, 0, 0, 0)))


async def counts_are(database: Database, expected: tuple[int, int, int, int]) -> bool:
    return await counts(database) == expected


async def test_no_more_are_under_way_than_allowed(bound):
    under_way, most = 0, 0

    async def deliver(event):
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0)
        under_way -= 1

    await send(bound, *(message("a.b") for _ in range(40)))
    async with running(loop_of(bound, deliver, concurrency=3)):
        await until(lambda: counts_are(bound, (40, 0, 0, 0)))
    assert most == 3


async def test_what_fails_is_tried_again_until_it_is_delivered(bound):
    tries = 0

    async def deliver(event):
        nonlocal tries
        tries += 1
        if tries < 4:
            raise ConnectionError("refused")

    await send(bound, message("a.b"))
    async with running(loop_of(bound, deliver)):
        await until(lambda: counts_are(bound, (1, 3, 0, 0)))
    assert (await stats(bound))["last_error"] == "ConnectionError: refused"


async def test_what_fails_too_often_is_given_up_with_what_it_failed_of(bound):
    async def deliver(event):
        raise RetryableError("503 Service Unavailable")

    await send(bound, message("a.b"))
    async with running(loop_of(bound, deliver, max_attempts=3, breaker_failures=100)):
        await until(lambda: counts_are(bound, (0, 2, 1, 0)))
    row = await bound.fetchrow("select message ->> 'event_name' as name, headers from pgmq.q_erp_relay_dead")
    assert row["name"] == "a.b"
    said = json.loads(row["headers"])
    assert (said["attempts"], said["error"]) == (3, "503 Service Unavailable (attempt 3 of 3)")


@pytest.mark.parametrize(
    ("raised", "error"),
    [(PermanentError("400 Bad Request"), "400 Bad Request"), (PermanentError(""), "PERMANENT")],
)
async def test_what_can_never_be_delivered_is_given_up_at_once(bound, raised, error):
    async def deliver(event):
        raise raised

    await send(bound, message("a.b"))
    async with running(loop_of(bound, deliver)):
        await until(lambda: counts_are(bound, (0, 0, 1, 0)))
    assert (await stats(bound))["last_error"] == error


async def test_what_is_no_event_is_given_up_and_holds_up_nothing(bound):
    seen = []

    async def deliver(event):
        seen.append(event.event_name)

    await bound.fetch("select pgmq.send('erp_relay', '[1]'), pgmq.send('erp_relay', '{\"event_id\": 5}')")
    await send(bound, message("a.b"))
    async with running(loop_of(bound, deliver)):
        await until(lambda: counts_are(bound, (1, 0, 2, 0)))
    assert seen == ["a.b"]


async def test_an_answer_that_takes_too_long_is_a_failure_and_the_next_try_is_made(bound):
    tries = 0

    async def deliver(event):
        nonlocal tries
        tries += 1
        if tries == 1:
            await asyncio.Event().wait()

    await send(bound, message("a.b"))
    async with running(loop_of(bound, deliver, timeout_seconds=0.05)):
        await until(lambda: counts_are(bound, (1, 1, 0, 0)))
    assert (await stats(bound))["last_error"] == "no answer within 0.05 s"


async def test_a_thread_that_takes_too_long_keeps_its_event_until_it_ends(bound):
    go_on, under_way, most = threading.Event(), 0, 0

    def deliver(event):
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        go_on.wait(10)
        under_way -= 1

    await send(bound, message("a.b"))
    slow = {"timeout_seconds": 0.05, "lease": timedelta(seconds=0.3)}
    async with running(loop_of(bound, deliver, **slow), loop_of(bound, deliver, **slow)):
        await until(lambda: under_way == 1)
        renewed = await bound.fetchval("select vt from pgmq.q_erp_relay")
        await until(lambda: _later(bound, renewed + timedelta(seconds=0.5)))
        go_on.set()
        await until(lambda: counts_are(bound, (1, 0, 0, 0)))
    assert most == 1


async def _later(database: Database, moment: Any) -> bool:
    return await database.fetchval("select vt > $1 from pgmq.q_erp_relay", moment)


async def test_what_the_target_asks_for_is_kept_to(bound):
    at: list[float] = []

    async def deliver(event):
        at.append(time.monotonic())
        if len(at) == 1:
            raise RetryableError("429 Too Many Requests", retry_after=0.5)

    await send(bound, message("a.1"), message("a.2"), message("a.3"))
    async with running(loop_of(bound, deliver, concurrency=1)):
        await until(lambda: counts_are(bound, (3, 1, 0, 0)))
    assert at[1] - at[0] >= 0.5, "nothing is delivered before, not even another event"


async def test_a_target_that_is_gone_gets_nothing_more_until_the_relay_is_resumed(bound):
    seen = []

    async def deliver(event):
        seen.append(event.event_name)
        if event.event_name == "a.0":
            raise TargetGone("410 Gone")

    await send(bound, *(message(f"a.{n}") for n in range(50)))
    loop = loop_of(bound, deliver, concurrency=1)
    async with running(loop):
        await until(lambda: loop.stopped_because == "410 Gone")
        assert seen == ["a.0"]
        assert await counts(bound) == (0, 0, 1, 49)
        await relay_resume(bound, "erp")
        loop.look()
        await until(lambda: counts_are(bound, (49, 0, 1, 0)))


async def test_a_target_that_fails_is_left_alone_and_then_tried_with_one_event(bound):
    tries: list[str] = []
    works = False

    async def deliver(event):
        tries.append(event.event_name)
        if not works:
            raise ConnectionError("refused")

    now = 0.0
    await send(bound, *(message(f"a.{n}") for n in range(30)))
    relay = Relay("erp", ["#"], deliver)
    options = RelayOptions(**OPTIONS, concurrency=1, breaker_failures=4, breaker_open_seconds=60, breaker_successes=1)
    loop = RelayLoop(relay, "p", bound, options, clock=lambda: now)
    async with running(loop):
        await until(lambda: counts_are(bound, (0, 4, 0, 30)))
        assert len(tries) == 4
        assert await bound.fetchval("select count(*) from pgmq.q_erp_relay where read_ct > 1") == 0
        now, works = 61.0, True
        loop.look()
        await until(lambda: counts_are(bound, (30, 4, 0, 0)))
    assert len(tries) == 34


async def test_events_of_a_key_are_delivered_in_their_order_whatever_fails(bound):
    await relay_remove(bound, "erp", force=True)
    seen: dict[str, list[int]] = {}
    failed: set[str] = set()

    async def deliver(event):
        key, number = event.payload["order"], event.payload["n"]
        if number % 3 == 0 and str(event.event_id) not in failed:
            failed.add(str(event.event_id))
            raise ConnectionError("refused")
        seen.setdefault(key, []).append(number)

    loops = [loop_of(bound, deliver, ordered_by="payload.order", breaker_failures=1000) for _ in range(2)]
    async with running(*loops):
        await until(lambda: relays_stats(bound))
        await send(bound, *(message("a.b", order=f"k{n % 4}", n=n) for n in range(80)))
        await until(lambda: sum(map(len, seen.values())) == 80)
    assert seen == {f"k{key}": list(range(key, 80, 4)) for key in range(4)}


async def test_two_hosts_never_deliver_an_event_at_the_same_time_nor_twice(bound):
    under_way: set[Any] = set()
    seen: list[Any] = []

    async def deliver(event):
        assert event.event_id not in under_way
        under_way.add(event.event_id)
        await asyncio.sleep(0.001)
        under_way.remove(event.event_id)
        seen.append(event.event_id)

    await send(bound, *(message("a.b") for _ in range(300)))
    async with running(*(loop_of(bound, deliver, batch_size=20) for _ in range(3))):
        await until(lambda: counts_are(bound, (300, 0, 0, 0)))
    assert len(seen) == len(set(seen)) == 300


async def test_a_loop_that_stops_lets_deliveries_end_and_gives_back_the_rest(bound):
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def deliver(event):
        begun.set()
        await go_on.wait()

    await send(bound, *(message("a.b") for _ in range(5)))
    async with running(loop_of(bound, deliver, concurrency=1)):
        await begun.wait()
        asyncio.get_running_loop().call_later(0.05, go_on.set)
    assert await counts(bound) == (1, 0, 0, 4)
    assert await bound.fetchval("select count(*) from pgmq.q_erp_relay where vt <= now() and read_ct = 0") == 4


async def test_a_delivery_that_does_not_end_in_time_is_given_back_as_not_tried(bound):
    begun = asyncio.Event()

    async def deliver(event):
        begun.set()
        await asyncio.Event().wait()

    await send(bound, message("a.b"))
    async with running(loop_of(bound, deliver), grace_seconds=0):
        await begun.wait()
    assert await bound.fetchval("select read_ct from pgmq.q_erp_relay where vt <= now()") == 0


async def test_an_event_whose_hosts_died_in_every_delivery_is_given_up(bound):
    seen = []

    async def deliver(event):
        seen.append(event)

    await send(bound, message("a.b"))
    await bound.fetch("update pgmq.q_erp_relay set read_ct = 3")
    async with running(loop_of(bound, deliver, max_attempts=3)):
        await until(lambda: counts_are(bound, (0, 0, 1, 0)))
    assert seen == []
    assert (await stats(bound))["last_error"] == "its host was lost in delivery 3 of 3"


async def test_a_delivery_is_ended_before_its_lease_when_that_cannot_be_renewed(bound, monkeypatch):
    ended = asyncio.Event()

    async def deliver(event):
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async def unreachable(*_, **__):
        raise DatabaseUnavailable("away")

    monkeypatch.setattr("tasker_host.events.relay.relay_renew", unreachable)
    await send(bound, message("a.b"))
    async with running(loop_of(bound, deliver, lease=timedelta(seconds=0.6)), grace_seconds=0):
        await asyncio.wait_for(ended.wait(), 10)
        assert not await bound.fetchval("select vt < clock_timestamp() from pgmq.q_erp_relay")


async def test_a_removed_relay_ends_its_loop(bound):
    loop = loop_of(bound, print)
    async with asyncio.timeout(10):
        task = asyncio.create_task(loop.run())
        await until(lambda: loop._tidy_at)
        await relay_remove(bound, "erp", force=True)
        await task


async def test_a_queue_that_somebody_dropped_is_made_anew(bound):
    seen = []

    async def deliver(event):
        seen.append(event.event_name)

    await bound.fetch("select pgmq.drop_queue('erp_relay'), pgmq.drop_queue('erp_relay_dead')")
    async with running(loop_of(bound, deliver)):
        await until(lambda: bound.fetchval("select to_regclass('pgmq.q_erp_relay') is not null"))
        await send(bound, message("a.b"))
        await until(lambda: seen)


async def test_an_idle_loop_asks_only_when_it_polls(bound, monkeypatch):
    asked = 0
    fetch = bound.fetch

    async def counted(*arguments):
        nonlocal asked
        asked += 1
        return await fetch(*arguments)

    monkeypatch.setattr(bound, "fetch", counted)
    seen = asyncio.Event()

    async def deliver(event):
        seen.set()

    loop = loop_of(bound, deliver, poll_interval_seconds=3600)
    async with running(loop):
        await until(lambda: asked == 1)
        for _ in range(20):
            await asyncio.sleep(0)
        assert asked == 1
        async with bound.acquire() as connection:
            await connection.execute("select tasker.events_send('tests', $1::jsonb)", json_array([message("a.b")]))
        loop.look()
        await seen.wait()


async def test_the_database_going_away_costs_nothing(bound, dsn):
    seen = []

    async def deliver(event):
        seen.append(event.event_name)
        if len(seen) == 1:
            async with bound.acquire() as connection:
                await connection.execute(
                    "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database()"
                    " and pid <> pg_backend_pid() and application_name like 'tasker%'"
                )

    await send(bound, *(message(f"a.{n}") for n in range(20)))
    async with running(loop_of(bound, deliver, concurrency=2)):
        await until(lambda: len(set(seen)) == 20)
        await until(lambda: counts_are(bound, (20, 0, 0, 0)))
