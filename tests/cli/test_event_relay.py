"""`tasker event replay|dead|relay`, on a database of the test's own."""

from __future__ import annotations

import json
from datetime import timedelta
from uuid import UUID

import asyncpg
import pytest

from tasker_host.db.database import Database
from tasker_host.db.relays import Verdict, relay_register, relay_round
from tests.cli.conftest import Tasker

TASK = UUID(int=5)


@pytest.fixture
def on(tasker: Tasker, dsn: str) -> Tasker:
    """`tasker` on the test's database."""

    def run(*arguments: str, **more: str):
        return tasker(*arguments, DATABASE_URL=dsn, **more)

    return run


@pytest.fixture
async def erp(database: Database) -> Database:
    """A relay with an event that waits and two that are dead."""
    await database.fetch("select tasker.namespace_create('shop')")
    await relay_register(database, "erp", plugin="acme", events=["#"], namespaces=[], ordered_by=None)
    await send(database, "payment.failed", "payment.refused")
    taken = await relay_round(database, "erp", [], want=9, lease=timedelta(seconds=30))
    verdicts = [Verdict(one.msg_id, one.attempt, "dead", error="400 Bad Request") for one in taken.events]
    await relay_round(database, "erp", verdicts, want=0, lease=timedelta(seconds=30))
    await send(database, "order.shipped")
    return database


async def send(database: Database, *names: str) -> None:
    events = [
        {"event_id": str(UUID(int=n)), "event_name": name,
         "metadata": {"namespace": "shop", "task_uuid": str(TASK), "fired_at": "2026-11-21T08:00:00Z"}}
        for n, name in enumerate(names, start=1)
    ]  # fmt: skip
    await database.fetch("select tasker.events_send('shop', $1::jsonb)", json.dumps(events))


def test_relays_and_dead_events_are_shown(erp, on):
    (row,) = on("event", "relay", "list", "--json").json
    assert [row[key] for key in ("relay", "plugin", "state", "waiting", "dead", "last_error")] == [
        "erp", "acme", "running", 1, 2, "400 Bad Request"]  # fmt: skip
    shown = on("event", "relay", "list")
    assert "erp" in shown.out
    assert "400 Bad Request" in shown.out
    assert on("event", "stats", "--json").json["relays"] == [row]
    assert "400 Bad Request" in on("event", "stats").out
    dead = on("event", "dead", "--relay", "erp", "--name", "payment.*", "--json").json
    assert [(one["event_name"], one["error"], one["attempts"]) for one in dead] == [
        ("payment.failed", "400 Bad Request", 1),
        ("payment.refused", "400 Bad Request", 1),
    ]
    assert "payment.refused" in on("event", "dead").out


async def test_dead_events_are_replayed_by_filter(erp, on):
    tried = on(
        "event", "replay", "--name", "*.refused", "--task", str(TASK), "--since", "2026-11-21", "--dry-run", "--json"
    )
    assert (tried.json["replayed"], tried.json["dry_run"]) == (0, True)
    assert [event["event_name"] for event in tried.json["events"]] == ["payment.refused"]
    assert "0 events would be sent" in on("event", "replay", "--until", "2026-11-20", "--dry-run").out
    done = on("event", "replay", "--relay", "erp", "--name", "*.refused", "--json")
    assert (done.code, done.json["replayed"]) == (0, 1)
    assert [one["event_name"] for one in on("event", "dead", "--json").json] == ["payment.failed"]
    names = await erp.fetch("select message ->> 'event_name' from pgmq.q_erp_relay order by msg_id")
    assert [row[0] for row in names] == ["order.shipped", "payment.refused"]


async def test_replay_and_resume_wake_the_hosts(erp, on, dsn):
    listening = await asyncpg.connect(dsn)
    rung: list[str] = []
    await listening.add_listener("tasker.events", lambda *heard: rung.append(heard[2]))
    on("event", "replay")
    on("event", "relay", "resume", "erp")
    await listening.fetch("select 1")
    assert rung == ["tasker.events"] * 2
    await listening.close()


async def test_a_relay_is_paused_resumed_and_removed(erp, on):
    assert on("event", "relay", "pause", "erp", "--reason", "until noon").out == "erp is paused\n"
    (row,) = on("event", "relay", "list", "--json").json
    assert (row["state"], row["stopped_because"]) == ("stopped", "until noon")
    assert "until noon" in on("event", "relay", "list").out
    # Paused again without a reason it keeps the one it has; with another one it gets that.
    for reason, shown in (([], "until noon"), (["--reason", "until one"], "until one")):
        on("event", "relay", "pause", "erp", *reason)
        assert on("event", "relay", "list", "--json").json[0]["stopped_because"] == shown
    assert on("event", "relay", "resume", "erp", "--json").json == {"relay": "erp", "state": "running"}
    refused = on("event", "relay", "remove", "erp")
    assert (refused.code, "has 3 events that wait or are dead" in refused.err) == (2, True)
    removed = "erp is removed; a host whose plugins still give it makes it anew when it starts\n"
    assert on("event", "relay", "remove", "erp", "--force").out == removed
    assert on("event", "relay", "list", "--json").json == []


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["relay", "pause", "epr"], "no relay 'epr' in this database; did you mean 'erp'?"),
        (["dead", "--relay", "nobody"], "no relay 'nobody' in this database; there is erp"),
        (["replay", "--name", "Payment.*"], "is no pattern of event names"),
        (["replay", "--since", "soon"], "'soon' is no time"),
        (["replay", "--since", "999999w"], "'999999w' is no time"),
        (["replay", "--until", "9999-12-31T23:00:00-02:00"], "is no time"),
        (["replay", "--from", "queue"], "needs --relay"),
        (["replay", "--queue", "x"], "--queue is for"),
        (["replay", "--from", "archive", "--queue", "orders_domain_event"], "no queue 'orders_domain_event' in this"),
        (["replay", "--from", "archive", "--queue", "tests_queue"], "is a queue of the steps of a namespace"),
        (["replay", "--namespace", "nobody"], "no namespace 'nobody'; there is shop"),
        (["dead", "--namespace", "nobody"], "no namespace 'nobody'; there is shop"),
    ],
)
def test_what_cannot_be_is_told(erp, on, arguments, told):
    ran = on("event", *arguments)
    assert ran.code == 2
    assert told in " ".join(ran.err.replace("│", " ").split())
