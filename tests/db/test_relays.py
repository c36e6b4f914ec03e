"""The queues of relays: what is taken, in which order, and what becomes of it."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from tasker_host.db.database import Database
from tasker_host.db.migrate import migrate
from tasker_host.db.relays import (
    Binding,
    EventFilter,
    Verdict,
    bindings_set,
    events_replay,
    queue_retain,
    relay_register,
    relay_remove,
    relay_renew,
    relay_resume,
    relay_round,
    relay_stop,
    relay_tidy,
    relays_stats,
)
from tasker_host.domain.json import json_array

LEASE = timedelta(seconds=30)
HOUR = timedelta(hours=1)


def event(name: str, **payload: Any) -> str:
    return json.dumps({"event_name": name, "payload": payload, "metadata": {"namespace": "tests"}})


async def send(database: Database, *events: str, namespace: str = "tests") -> bool:
    await database.fetch("select tasker.namespace_create($1)", namespace)
    return await database.fetchval("select tasker.events_send($1, $2::jsonb)", namespace, json_array(events))


async def names(database: Database, queue: str) -> list[str]:
    rows = await database.fetch(f"select message ->> 'event_name' from pgmq.q_{queue} order by msg_id")
    return [row[0] for row in rows]


async def registered(database: Database, name: str = "erp", **options: Any) -> None:
    await relay_register(
        database, name, plugin="p", **{"events": ["#"], "namespaces": [], "ordered_by": None, **options}
    )


async def take(database: Database, want: int = 100, *verdicts: Verdict, relay: str = "erp"):
    return await relay_round(database, relay, verdicts, want=want, lease=LEASE)


def told(taken: Any) -> list[str]:
    return [json.loads(each.event)["event_name"] for each in taken.events]


def verdict(taken: Any, kind: str, **more: Any) -> Verdict:
    return Verdict(taken.msg_id, taken.attempt, kind, **more)


async def come_due(database: Database, relay: str = "erp") -> None:
    """As if every wait and every lease of it had passed."""
    await database.fetch(f"update pgmq.q_{relay}_relay set vt = now() - interval '1 s' where vt < 'infinity'")


# Routing --------------------------------------------------------------------------------------------------------------


async def test_events_go_to_every_queue_that_is_bound_to_their_name_and_to_each_once(database):
    await bindings_set(
        database,
        [Binding("money", "payment.*"), Binding("money", "payment.processed"), Binding("everything", "#")],
    )
    await send(database, event("payment.processed"), event("payment.card.processed"), event("order.shipped"))
    assert await names(database, "money") == ["payment.processed"]
    assert await names(database, "everything") == ["payment.processed", "payment.card.processed", "order.shipped"]
    assert await names(database, "tests_domain_events") == await names(database, "everything")


async def test_a_binding_of_namespaces_gets_only_their_events(database):
    await bindings_set(database, [Binding("money", "#", ["tests", "others"])])
    for namespace in ("tests", "others", "third"):
        await send(database, event(f"of.{namespace}"), namespace=namespace)
    assert await names(database, "money") == ["of.tests", "of.others"]


async def test_a_bound_queue_that_is_ordered_carries_the_key_as_pgmq_reads_it(database):
    await bindings_set(database, [Binding("money", "#", ordered_by="payload.order")])
    await send(database, event("a.b", order=7), event("a.c"))
    rows = await database.fetch("select headers from pgmq.q_money order by msg_id")
    assert [row[0] for row in rows] == ['{"x-pgmq-group": "7"}', None]


async def test_what_is_not_bound_any_more_gets_nothing_and_is_told(database):
    await bindings_set(database, [Binding("money", "payment.*"), Binding("orders", "order.*")])
    await send(database, event("payment.a"), event("order.a"))
    assert await bindings_set(database, [Binding("orders", "order.*")]) == ["money payment.*"]
    await send(database, event("payment.b"), event("order.b"))
    assert await names(database, "money") == ["payment.a"]
    assert await names(database, "orders") == ["order.a", "order.b"]


async def test_the_same_bindings_again_change_nothing(database):
    bindings = [Binding("money", "payment.*", ["tests"], "payload.order"), Binding("orders", "order.*")]
    await bindings_set(database, bindings)
    assert await bindings_set(database, bindings[::-1]) is None


async def test_without_bindings_nothing_is_looked_up(database):
    assert await send(database, event("a.b")) is False
    assert (
        await database.fetchval("select prosrc from pg_proc where proname = 'events_route'")
        == "begin return false; end"
    )


async def test_a_routed_event_is_gone_with_the_transaction_that_sent_it(database):
    await bindings_set(database, [Binding("money", "#")])
    await database.fetch("select tasker.namespace_create('tests')")
    async with database.acquire() as connection:
        undone = connection.transaction()
        await undone.start()
        await connection.execute("select tasker.events_send('tests', $1::jsonb)", json_array([event("a.b")]))
        await undone.rollback()
    assert await names(database, "money") == []


async def test_a_bound_queue_that_somebody_dropped_is_made_anew_and_holds_up_nothing(database):
    await bindings_set(database, [Binding("money", "#"), Binding("orders", "order.*")])
    await send(database, event("order.first"))
    await database.fetch("select pgmq.drop_queue('money')")
    await send(database, event("order.second"))
    assert await names(database, "money") == ["order.second"]
    assert await names(database, "orders") == ["order.first", "order.second"]


async def test_the_bindings_of_before_an_upgrade_hold_after_it(database):
    await bindings_set(database, [Binding("money", "#")])
    await database.fetch("update tasker.migrations set sha256 = 'older' where name = 'functions'")
    await migrate(database)
    await send(database, event("a.b"))
    assert await names(database, "money") == ["a.b"]


async def test_hosts_that_start_at_once_bind_the_same(database):
    await asyncio.gather(*(bindings_set(database, [Binding("money", "#")]) for _ in range(6)),
                         *(registered(database, f"r{n % 2}") for n in range(6)))  # fmt: skip
    assert await send(database, event("a.b")) is True
    for queue in ("money", "r0_relay", "r1_relay"):
        assert await names(database, queue) == ["a.b"]


# Taking ---------------------------------------------------------------------------------------------------------------


async def test_each_relay_gets_its_own_copy_of_what_it_asked_for(database):
    await registered(database, "erp", events=["payment.*"])
    await registered(database, "crm", events=["payment.processed", "order.**"])
    await send(database, event("payment.processed"), event("payment.failed"), event("order.shipped"))
    assert told(await take(database, relay="erp")) == ["payment.processed", "payment.failed"]
    assert told(await take(database, relay="crm")) == ["payment.processed", "order.shipped"]


async def test_what_was_taken_is_nobody_elses_until_its_lease_ends(database):
    await registered(database)
    await send(database, event("a.1"), event("a.2"), event("a.3"))
    assert told(await take(database, 2)) == ["a.1", "a.2"]
    assert told(await take(database)) == ["a.3"]
    assert told(again := await take(database)) == []
    assert 29 < again.next_due_seconds <= 30
    await come_due(database)
    assert [each.attempt for each in (await take(database)).events] == [2, 2, 2]


async def test_what_was_delivered_is_gone_and_counted(database):
    await registered(database)
    await send(database, event("a.1"), event("a.2"))
    first = await take(database)
    after = await take(database, 100, *(verdict(each, "delivered") for each in first.events))
    assert (after.events, after.next_due_seconds, after.superseded) == ([], None, [])
    (stats,) = await relays_stats(database)
    assert [stats[key] for key in ("delivered", "retried", "dead", "waiting", "last_error")] == [2, 0, 0, 0, None]
    assert stats["last_delivered_at"] is not None


async def test_a_retry_comes_when_its_wait_is_over_and_says_why_it_waits(database):
    await registered(database)
    await send(database, event("a.1"))
    (one,) = (await take(database)).events
    waiting = await take(database, 100, verdict(one, "retried", after=HOUR, error="503"))
    assert waiting.events == []
    assert 3595 < waiting.next_due_seconds <= 3600
    assert json.loads(await database.fetchval("select headers from pgmq.q_erp_relay")) == {"error": "503"}
    await come_due(database)
    assert [each.attempt for each in (await take(database)).events] == [2]
    (stats,) = await relays_stats(database)
    assert [stats[key] for key in ("retried", "last_error")] == [1, "503"]


async def test_what_is_dead_can_be_looked_at_by_any_pgmq_client(database):
    await registered(database)
    await send(database, event("a.1"))
    (one,) = (await take(database)).events
    await take(database, 0, verdict(one, "dead", error="400 Bad Request"))
    row = await database.fetchrow("select message, headers from pgmq.read('erp_relay_dead', 30, 10)")
    assert json.loads(row["message"])["event_name"] == "a.1"
    said = json.loads(row["headers"])
    assert {key: said[key] for key in ("relay", "attempts", "error")} == {
        "relay": "erp", "attempts": 1, "error": "400 Bad Request"}  # fmt: skip
    assert {"died_at", "sent_at"} < set(said)


async def test_what_was_given_back_has_not_been_tried(database):
    await registered(database)
    await send(database, event("a.1"))
    (one,) = (await take(database)).events
    assert [each.attempt for each in (await take(database, 9, verdict(one, "released"))).events] == [1]
    (stats,) = await relays_stats(database)
    assert [stats[key] for key in ("delivered", "retried", "dead")] == [0, 0, 0]


@pytest.mark.parametrize("kind", ["delivered", "retried", "dead", "released"])
async def test_who_comes_too_late_changes_nothing(database, kind):
    await registered(database)
    await send(database, event("a.1"))
    (mine,) = (await take(database)).events
    await come_due(database)
    (theirs,) = (await take(database)).events
    assert (await take(database, 0, verdict(mine, kind, after=HOUR, error="x"))).superseded == [mine.msg_id]
    assert await relay_renew(database, "erp", [mine, theirs], lease=LEASE) == {theirs.msg_id}
    assert (await take(database, 0, verdict(theirs, "delivered"))).superseded == []
    (stats,) = await relays_stats(database)
    assert [stats[key] for key in ("delivered", "retried", "dead", "waiting")] == [1, 0, 0, 0]


async def test_a_target_that_asks_for_a_pause_gets_nothing_from_anybody_until_it_is_over(database):
    await registered(database)
    await send(database, event("a.1"), event("a.2"))
    (one,) = (await take(database, 1)).events
    held = await take(database, 1, verdict(one, "held", after=HOUR, error="429"))
    assert held.events == []
    assert 3595 < held.next_due_seconds <= 3600
    (stats,) = await relays_stats(database)
    assert stats["state"] == "held"
    await database.fetch("update tasker.relays set hold_until = now()")
    assert told(await take(database)) == ["a.2"]


async def test_a_target_that_is_gone_stops_its_relay_until_somebody_resumes_it(database):
    await registered(database)
    await send(database, event("a.1"), event("a.2"))
    (one,) = (await take(database, 1)).events
    stopped = await take(database, 1, verdict(one, "gone", error="410 Gone"))
    assert (stopped.events, stopped.stopped) == ([], "410 Gone")
    assert await names(database, "erp_relay_dead") == ["a.1"]
    assert await relay_resume(database, "erp")
    assert told(await take(database)) == ["a.2"]


async def test_a_relay_that_was_stopped_by_hand_takes_nothing_and_loses_nothing(database):
    await registered(database)
    assert await relay_stop(database, "erp", "ada: maintenance")
    await send(database, event("a.1"))
    assert (await take(database)).stopped == "ada: maintenance"
    await relay_resume(database, "erp")
    assert told(await take(database)) == ["a.1"]
    assert not await relay_stop(database, "nobody", "x")
    assert not await relay_resume(database, "nobody")


async def test_a_removed_relay_gets_nothing_and_its_queues_are_gone(database):
    await registered(database)
    await send(database, event("a.1"))
    assert await relay_remove(database, "erp", force=False) == 1
    assert told(await take(database)) == ["a.1"]
    assert await relay_remove(database, "erp", force=True) == 1
    assert await send(database, event("a.2")) is False
    assert (await take(database)).removed
    assert await relay_remove(database, "erp", force=True) is None
    assert await database.fetchval("select count(*) from pgmq.meta where queue_name like 'erp%'") == 0


async def test_two_hosts_share_what_there_is(database):
    await registered(database)
    await send(database, *(event(f"a.{n}") for n in range(100)))
    rounds = await asyncio.gather(*(take(database, 30) for _ in range(4)))
    taken = [name for each in rounds for name in told(each)]
    assert sorted(taken) == sorted(f"a.{n}" for n in range(100))


# Order ----------------------------------------------------------------------------------------------------------------

BY_ORDER = {"ordered_by": "payload.order"}


async def test_of_a_key_only_the_first_is_taken_and_the_next_when_that_is_delivered(database):
    await registered(database, **BY_ORDER)
    await send(
        database, event("a.1", order=1), event("a.2", order=1), event("b.1", order=2), event("c.1"), event("c.2")
    )
    first = await take(database)
    assert told(first) == ["a.1", "b.1", "c.1", "c.2"]
    assert told(await take(database)) == []
    assert told(await take(database, 9, verdict(first.events[0], "delivered"))) == ["a.2"]


async def test_what_follows_waits_while_the_one_before_is_retried_and_goes_on_when_it_is_dead(database):
    await registered(database, **BY_ORDER)
    await send(database, event("a.1", order=1), event("a.2", order=1), event("b.1", order=2))
    (one, other) = (await take(database)).events
    assert (
        told(await take(database, 9, verdict(one, "retried", after=HOUR, error="x"), verdict(other, "delivered"))) == []
    )
    await come_due(database)
    (again,) = (await take(database)).events
    assert (again.msg_id, again.attempt) == (one.msg_id, 2)
    assert told(await take(database, 9, verdict(again, "dead", error="x"))) == ["a.2"]


async def test_an_event_that_was_committed_late_does_not_overtake_one_that_was_begun(database):
    await registered(database, **BY_ORDER)
    await database.fetch("select tasker.namespace_create('tests')")
    async with database.acquire() as slow, slow.transaction():
        await slow.execute("select tasker.events_send('tests', $1::jsonb)", json_array([event("a.early", order=1)]))
        await send(database, event("a.late", order=1))
        (begun,) = (await take(database)).events
    assert told(await take(database)) == []
    assert told(await take(database, 9, verdict(begun, "delivered"))) == ["a.early"]


async def test_a_key_of_any_length_holds_up_no_event(database):
    await registered(database, **BY_ORDER)
    await send(
        database, event("a.1", order="é" * 100_000), event("a.2", order="é" * 100_000), event("a.3", order={"a": [1]})
    )
    assert told(await take(database)) == ["a.1", "a.3"]


async def test_a_long_row_of_one_key_does_not_hide_the_others(database):
    await registered(database, **BY_ORDER)
    await send(database, *(event(f"a.{n}", order=1) for n in range(2_000)), event("b.1", order=2))
    assert told(await take(database, 2)) == ["a.0", "b.1"]
    assert told(again := await take(database, 2)) == []
    assert again.next_due_seconds > 29, "what is behind another is not looked at again and again"


async def test_one_key_is_delivered_in_its_order_by_many_hosts_and_never_twice_at_once(database):
    await registered(database, **BY_ORDER)
    await send(database, *(event(f"k{n % 5}.n{n}", order=n % 5) for n in range(200)))
    seen: dict[str, list[int]] = {}
    under_way: set[str] = set()

    async def host() -> None:
        verdicts: list[Verdict] = []
        while sum(map(len, seen.values())) < 200 or verdicts:
            taken = await take(database, 3, *verdicts)
            verdicts = []
            for each in taken.events:
                key, _, number = json.loads(each.event)["event_name"].partition(".n")
                assert key not in under_way
                under_way.add(key)
                await asyncio.sleep(0)
                seen.setdefault(key, []).append(int(number))
                under_way.remove(key)
                verdicts.append(verdict(each, "delivered"))

    await asyncio.gather(*(host() for _ in range(3)))
    assert seen == {f"k{key}": list(range(key, 200, 5)) for key in range(5)}


async def test_a_relay_that_is_no_longer_ordered_leaves_nothing_waiting(database):
    await registered(database, **BY_ORDER)
    await send(database, event("a.1", order=1), event("a.2", order=1), event("a.3", order=1))
    assert told(await take(database)) == ["a.1"]
    await registered(database)
    assert told(await take(database)) == ["a.2", "a.3"]


async def test_those_behind_an_event_that_an_operator_deleted_go_on(database):
    await registered(database, **BY_ORDER)
    await send(database, event("a.1", order=1), event("a.2", order=1), event("a.3", order=1))
    (one,) = (await take(database)).events
    await take(database)
    await database.fetch("select pgmq.delete('erp_relay', $1::bigint)", one.msg_id)
    assert told(await take(database)) == []
    await relay_tidy(database, "erp")
    assert told(await take(database)) == ["a.2"]


# Cost -----------------------------------------------------------------------------------------------------------------


async def test_taking_does_not_read_what_waits_for_a_time(database):
    await registered(database)
    await database.fetch(
        "insert into pgmq.q_erp_relay (vt, message) select now() + interval '1 d', '{}' from generate_series(1, 20000)"
    )
    await database.fetch("analyze pgmq.q_erp_relay")
    await send(database, event("a.1"))
    async with database.acquire() as connection:
        async with connection.transaction():
            await connection.execute("select pg_stat_force_next_flush()")
        before = await _tuples(connection)
        rows = await connection.fetch(
            "select * from tasker.relay_round('erp', '{}', '{}', '{}', '{}', '{}', 10, '30 s')"
        )
        await connection.execute("select pg_stat_force_next_flush()")
        assert len(rows) == 2
        assert await _tuples(connection) - before < 100


async def _tuples(connection: asyncpg.Connection) -> int:
    """Rows of the queue that were read until now, by index or without."""
    return await connection.fetchval(
        "select seq_tup_read + coalesce(idx_tup_fetch, 0) from pg_stat_user_tables where relname = 'q_erp_relay'"
    )


# Retention ------------------------------------------------------------------------------------------------------------


async def test_old_messages_are_taken_away_but_not_what_somebody_holds(database):
    await send(database, *(event(f"a.{n}") for n in range(2_500)))
    await database.fetch(
        "update pgmq.q_tests_domain_events set enqueued_at = now() - interval '3 d' where msg_id <= 2400"
    )
    await database.fetch("update pgmq.q_tests_domain_events set vt = now() + interval '1 h' where msg_id = 7")
    assert await queue_retain(database, "tests_domain_events", timedelta(days=2)) == 2399
    assert await database.fetchval("select count(*) from pgmq.q_tests_domain_events") == 101


async def test_old_messages_of_an_archive_are_taken_away(database):
    await send(database, event("a.1"), event("a.2"))
    await database.fetch("select pgmq.archive('tests_domain_events', msg_id) from pgmq.q_tests_domain_events")
    await database.fetch("update pgmq.a_tests_domain_events set archived_at = now() - interval '3 d' where msg_id = 1")
    assert await queue_retain(database, "tests_domain_events", timedelta(days=2), archived=True) == 1
    assert await database.fetchval("select msg_id from pgmq.a_tests_domain_events") == 2


async def test_a_queue_that_is_not_there_has_nothing_old(database):
    assert await queue_retain(database, "nobody", timedelta(days=2)) == 0


# Replay ---------------------------------------------------------------------------------------------------------------


async def replay(
    database: Database, source: str, *, relay: str | None = None, dry: bool = False, **wanted: Any
) -> list[str]:
    rows = await events_replay(database, source, EventFilter(**wanted), relay=relay, limit=100, dry=dry)
    return [row["event_name"] for row in rows]


async def buried(database: Database, *events: str, relay: str = "erp") -> None:
    """The relay has given them up."""
    await send(database, *events)
    taken = await take(database, relay=relay)
    await take(database, 0, *(verdict(each, "dead", error="400") for each in taken.events), relay=relay)


async def test_dead_events_go_back_to_their_relay_as_if_they_were_new(database):
    await registered(database)
    await buried(database, event("a.1"), event("a.2"))
    assert await replay(database, "dead", dry=True) == ["a.1", "a.2"]
    assert await replay(database, "dead", name="*.2") == ["a.2"]
    assert await names(database, "erp_relay_dead") == ["a.1"]
    (again,) = (await take(database)).events
    assert (json.loads(again.event)["event_name"], again.attempt) == ("a.2", 1)


async def test_dead_events_of_a_key_are_ordered_again(database):
    await registered(database, **BY_ORDER)
    await buried(database, event("a.1", order=1), event("b.1", order=2))
    await replay(database, "dead")
    await send(database, event("a.2", order=1))
    assert told(await take(database)) == ["a.1", "b.1"]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({"namespace": "tests"}, ["a.old", "a.new"]),
        ({"namespace": "others"}, []),
        ({"since": datetime(2026, 1, 2, tzinfo=UTC)}, ["a.new"]),
        ({"until": datetime(2026, 1, 2, tzinfo=UTC)}, ["a.old"]),
        ({"since": datetime(2026, 1, 1, tzinfo=UTC), "until": datetime(2026, 1, 3, tzinfo=UTC)}, ["a.old"]),
        ({"task_uuid": UUID(int=1)}, ["a.old"]),
        ({"event_id": UUID(int=2)}, ["a.new"]),
        ({"name": "b.*"}, []),
    ],
)
async def test_which_events_a_filter_chooses(database, wanted, expected):
    await registered(database)
    made = [
        {"event_id": str(UUID(int=n)), "event_name": name,
         "metadata": {"namespace": "tests", "task_uuid": str(UUID(int=n)), "fired_at": f"2026-01-0{day}T00:00:00Z"}}
        for n, name, day in ((1, "a.old", 1), (2, "a.new", 3))
    ]  # fmt: skip
    await buried(database, *map(json.dumps, made))
    assert await replay(database, "dead", dry=True, **wanted) == expected


async def test_archived_events_go_to_a_relay_and_stay_archived(database):
    await send(database, event("a.1"), event("a.2"))
    await database.fetch("select pgmq.archive('tests_domain_events', msg_id) from pgmq.q_tests_domain_events")
    await registered(database)
    assert await replay(database, "archive", relay="erp") == ["a.1", "a.2"]
    assert told(await take(database)) == ["a.1", "a.2"]
    assert await database.fetchval("select count(*) from pgmq.a_tests_domain_events") == 2


async def test_what_is_no_event_stays_in_the_archive(database):
    await send(database, event("a.1"))
    await database.fetch("select pgmq.send('tests_domain_events', '{\"junk\": 1}'::jsonb)")
    await database.fetch("select pgmq.archive('tests_domain_events', msg_id) from pgmq.q_tests_domain_events")
    assert await replay(database, "archive") == ["a.1"]
    assert await database.fetchval("select message ->> 'junk' from pgmq.a_tests_domain_events") == "1"


async def test_archived_events_go_back_to_the_queue_that_they_came_from(database):
    await send(database, event("a.1"), event("a.2"))
    await database.fetch("select pgmq.archive('tests_domain_events', msg_id) from pgmq.q_tests_domain_events")
    assert await replay(database, "archive", name="a.1") == ["a.1"]
    assert await names(database, "tests_domain_events") == ["a.1"]
    assert await database.fetchval("select count(*) from pgmq.a_tests_domain_events") == 1


async def test_events_that_wait_for_consumers_are_given_to_a_new_relay_once(database):
    first = json.dumps({**json.loads(event("a.1")), "event_id": str(UUID(int=1))})
    second = json.dumps({**json.loads(event("a.2")), "event_id": str(UUID(int=2))})
    await send(database, first)
    await registered(database)
    await send(database, second)
    assert await replay(database, "queue", relay="erp") == ["a.1"]
    assert await replay(database, "queue", relay="erp") == []
    assert sorted(told(await take(database))) == ["a.1", "a.2"]
    assert await names(database, "tests_domain_events") == ["a.1", "a.2"]


async def test_a_time_that_is_none_does_not_keep_an_event_from_being_found(database):
    await registered(database)
    await buried(database, json.dumps({"event_name": "a.1", "metadata": {"fired_at": "yesterday"}}))
    assert await replay(database, "dead", dry=True, since=datetime(2020, 1, 1, tzinfo=UTC)) == ["a.1"]
