"""Events that are sent again, and queues of relays that somebody dropped."""

from __future__ import annotations

import json
from typing import Any
from uuid import uuid4

import pytest

from tasker_host.db.database import Database
from tasker_host.db.events import MOST_AT_ONCE, Tail
from tasker_host.db.relays import (
    Binding,
    EventFilter,
    bindings_set,
    events_replay,
    relay_register,
    relay_remove,
    relay_there,
    relays_stats,
)
from tasker_host.domain.json import json_array

EVERY = EventFilter()


def event(**payload: Any) -> str:
    told = {"event_id": str(uuid4()), "event_name": "order.placed", "payload": payload}
    return json.dumps({**told, "metadata": {"namespace": "tests"}})


async def send(database: Database, *events: str) -> None:
    await database.fetch("select tasker.events_send('tests', $1::jsonb)", json_array(events))


@pytest.fixture
async def tests(database):
    """A database with the namespace 'tests'."""
    await database.fetch("select tasker.namespace_create('tests')")
    return database


async def relay(database: Database, ordered_by: str | None = None) -> None:
    await relay_register(database, "erp", plugin="p", events=["#"], namespaces=[], ordered_by=ordered_by)


async def keys(database: Database, queue: str) -> list[str | None]:
    rows = await database.fetch(f"select headers ->> 'x-pgmq-group' from pgmq.q_{queue} order by msg_id")
    return [row[0] for row in rows]


async def replay(database: Database, source: Any, **more: Any) -> int:
    asked = {"relay": None, "queue": None, "limit": 100, "dry": False} | more
    return len(await events_replay(database, source, EVERY, **asked))


async def test_a_long_key_is_the_same_whether_its_event_is_sent_or_sent_again(tests):
    key = "".join(f"{number:05d}" for number in range(2000))
    await send(tests, event(key=key))
    await relay(tests, "payload.key")
    await send(tests, event(key=key))
    assert await replay(tests, "queue", relay="erp") == 1
    assert await keys(tests, "erp_relay") == [key[:500], key[:500]]


async def test_what_goes_back_from_an_archive_is_still_of_its_key(tests):
    await bindings_set(tests, [Binding("audit", "#", ordered_by="payload.key")])
    await send(tests, event(key="k"))
    await tests.fetch("select pgmq.archive('audit', (select msg_id from pgmq.q_audit))")
    assert await replay(tests, "archive", queue="audit") == 1
    assert await keys(tests, "audit") == ["k"]


async def test_dead_events_come_back_with_the_key_that_their_relay_orders_by_now(tests):
    await relay(tests)
    await tests.fetch("select pgmq.send('erp_relay_dead', $1::jsonb)", event(key="k"))
    await relay(tests, "payload.key")
    assert await replay(tests, "dead") == 1
    assert await keys(tests, "erp_relay") == ["k"]


@pytest.mark.parametrize("dropped", ["erp_relay", "erp_relay_dead"])
async def test_a_queue_of_a_relay_that_somebody_dropped_is_an_empty_one(tests, dropped):
    await relay_register(tests, "crm", plugin="p", events=["#"], namespaces=[], ordered_by=None)
    await relay(tests)
    await send(tests, event())
    await tests.fetch("select pgmq.drop_queue($1)", dropped)
    other, stats = await relays_stats(tests)
    assert (other["waiting"], other["dead_kept"]) == (1, 0)
    assert (stats["waiting"], stats["dead_kept"]) == ((0, 0) if dropped == "erp_relay" else (1, 0))
    assert await replay(tests, "dead", dry=True) == 0
    await relay_remove(tests, "erp", force=True)
    assert not await relay_there(tests, "erp")


async def test_dead_events_go_back_to_a_queue_that_somebody_dropped(tests):
    await relay(tests, "payload.key")
    await tests.fetch("select pgmq.send('erp_relay_dead', $1::jsonb)", event(key="k"))
    await tests.fetch("select pgmq.drop_queue('erp_relay')")
    assert await replay(tests, "dead", relay="erp") == 1
    assert await keys(tests, "erp_relay") == ["k"]


async def test_headers_that_others_wrote_do_not_keep_dead_events_from_being_seen(tests):
    await relay(tests)
    await tests.fetch(
        'select pgmq.send(\'erp_relay_dead\', $1::jsonb, \'{"attempts": "many", "died_at": "never"}\'::jsonb)', event()
    )
    (seen,) = await events_replay(tests, "dead", EVERY, relay="erp", limit=10, dry=True)
    assert (seen["attempts"], seen["died_at"], seen["target"]) == (None, None, "erp")


async def test_one_look_of_a_tail_takes_all_that_came_since(tests):
    tail = Tail(tests)
    await tail.last(1)
    await send(tests, *(event(n=number) for number in range(2 * MOST_AT_ONCE + 1)))
    assert [found["payload"]["n"] for found in await tail.new()] == list(range(2 * MOST_AT_ONCE + 1))
    assert await tail.new() == []
