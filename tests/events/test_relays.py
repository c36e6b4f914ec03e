"""The relays of a host: which run, with which options, what they have to say; and what is taken away by its age."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from tasker_host.db.database import Database
from tasker_host.db.relays import relay_stop
from tasker_host.domain.backoff import BackoffPolicy
from tasker_host.events.relays import EventRetention, Relays, options
from tasker_host.hooks.relay import Relay
from tests.support import configured


def settings(**overrides: Any) -> Any:
    return configured("", **{f"events__{key}": value for key, value in overrides.items()}).settings.events


def relays(database: Any, *names: str, **overrides: Any) -> Relays:
    return Relays(database, settings(**overrides), [("p", Relay(name, ["#"], print)) for name in names])


@pytest.mark.parametrize(
    ("overrides", "running"),
    [({}, ["crm", "erp"]), ({"relays__only": ["erp", "gone"]}, ["erp"]), ({"relays__enabled": False}, [])],
)
def test_which_relays_a_host_runs(overrides, running):
    assert [loop.relay.name for loop in relays(None, "crm", "erp", **overrides).loops] == running


async def test_all_are_given_their_events_whichever_run_here(database):
    await relays(database, "crm", "erp", relays__only=["erp"]).bind()
    assert [row[0] for row in await database.fetch("select name from tasker.relays order by 1")] == ["crm", "erp"]
    assert await database.fetchval("select count(*) from tasker.event_bindings") == 2


def test_what_a_relay_says_goes_before_the_configuration():
    configured = settings(relays__retry__base_ms=500, relays__retry__max_ms=9000, relays__max_attempts=7).relays
    plain = options(configured, Relay("erp", ["#"], print))
    assert (plain.max_attempts, plain.concurrency, plain.lease) == (7, 16, timedelta(seconds=30))
    assert plain.backoff == BackoffPolicy(configured.retry.backoff, 500, 9000, 0.2)
    own = Relay("erp", ["#"], print, concurrency=2, timeout_seconds=3, max_attempts=4, retry_base_seconds=20)
    said = options(configured, own)
    assert (said.concurrency, said.timeout_seconds, said.max_attempts) == (2, 3, 4)
    assert (said.backoff.base_ms, said.backoff.max_ms) == (20_000, 20_000)


async def test_a_relay_that_delivers_nothing_is_told(database):
    made = relays(database, "erp")
    assert made.trouble() == []
    await made.bind()
    await relay_stop(database, "erp", "410 Gone")
    (loop,) = made.loops
    await loop._round()
    assert made.trouble() == ["erp is stopped: 410 Gone"]


# Retention ------------------------------------------------------------------------------------------------------------


@pytest.fixture
async def old(database: Database) -> Database:
    """An old message and a new one in every place where events are kept."""
    await database.fetch("select tasker.namespace_create('tests')")
    await relays(database, "erp", bindings=[{"pattern": "#", "queue": "money"}]).bind()
    tables = [
        (f"{kind}_{queue}", column)
        for queue in ("tests_domain_events", "money", "erp_relay", "erp_relay_dead")
        for kind, column in (("q", "enqueued_at"), ("a", "archived_at"))
    ]
    for table, column in tables:
        for number, age in enumerate(("40 d", "1 h"), start=1):
            await database.fetch(
                f"insert into pgmq.{table} (msg_id, vt, {column}, message) overriding system value"
                f" values ({number}, now() - interval '{age}', now() - interval '{age}', '{{}}')"
            )
    await database.fetch(
        "insert into tasker.consumed_events values ('c', 'a', now() - interval '40 d'), ('c', 'b', now())"
    )
    return database


async def test_by_default_nothing_but_what_consumers_remember_is_taken_away(old):
    assert await EventRetention(old, settings().retention).retain() == {"consumed": 1}


async def test_what_is_too_old_is_taken_away_but_never_what_a_relay_has_to_deliver(old):
    days = {f"retention__{what}_max_age_days": 30.0 for what in ("unconsumed", "archived", "dead", "consumed")}
    assert await EventRetention(old, settings(**days).retention).retain() == {
        "money": 1,
        "archive of money": 1,
        "tests_domain_events": 1,
        "archive of tests_domain_events": 1,
        "erp_relay_dead": 1,
        "consumed": 1,
    }
    assert await old.fetchval("select count(*) from pgmq.q_erp_relay") == 2


async def test_each_is_kept_as_long_as_is_said_of_it(old):
    assert await EventRetention(old, settings(retention__dead_max_age_days=50.0).retention).retain() == {"consumed": 1}
    only = settings(retention__archived_max_age_days=30.0, retention__consumed_max_age_days=0.0)
    assert await EventRetention(old, only.retention).retain() == {
        "archive of money": 1,
        "archive of tests_domain_events": 1,
    }
