"""Durable events of the kernel: messages that are there if and only if the result is."""

from __future__ import annotations

import json
from datetime import timedelta
from types import SimpleNamespace

import pytest

from tasker_host.db.migrate import migrate
from tests.db.conftest import done, failed

ONE = {"only": []}


def telling(outcome, *names: str):
    """The outcome with an event for each name."""
    return outcome._replace(telling=SimpleNamespace(messages=[json.dumps({"event_name": name}) for name in names]))


async def sent(kernel, namespace: str = "tests") -> list[str]:
    """Names of the events in the queue of a namespace, in their order, as any PGMQ client reads them."""
    rows = await kernel.connection.fetch("select message from pgmq.read($1, 0, 1000)", f"{namespace}_domain_events")
    return [json.loads(row["message"])["event_name"] for row in rows]


async def test_the_events_of_a_result_are_messages_in_the_order_given(kernel):
    await kernel.submit(await kernel.template(ONE), 3)
    first, second, third = (await kernel.claim()).steps
    await kernel.finish(telling(done(first), "a.1", "a.2"), done(second), telling(failed(third), "c.1"))
    assert await sent(kernel) == ["a.1", "a.2", "c.1"]


async def test_an_attempt_that_will_be_retried_sends_its_events_too(kernel):
    await kernel.submit(await kernel.template(ONE))
    (step,) = (await kernel.claim()).steps
    await kernel.finish(telling(failed(step, retry_after=timedelta(hours=1)), "a.again"))
    assert await sent(kernel) == ["a.again"]


async def test_an_outcome_that_comes_too_late_sends_nothing(kernel):
    await kernel.submit(await kernel.template(ONE), 2)
    stale, mine = (await kernel.claim()).steps
    answer = await kernel.finish(telling(done(stale._replace(attempt=7)), "a.phantom"), telling(done(mine), "a.real"))
    assert answer.superseded == [stale.step_uuid]
    assert await sent(kernel) == ["a.real"]


async def test_a_result_reported_twice_sends_its_events_once(kernel):
    await kernel.submit(await kernel.template(ONE))
    (step,) = (await kernel.claim()).steps
    await kernel.finish(telling(done(step), "a.once"), telling(done(step), "a.twice"))
    await kernel.finish(telling(done(step), "a.again"))
    assert await sent(kernel) == ["a.once"]


async def test_a_result_that_is_rolled_back_leaves_no_event(kernel):
    await kernel.submit(await kernel.template(ONE))
    (step,) = (await kernel.claim()).steps
    transaction = kernel.connection.transaction()
    await transaction.start()
    await kernel.finish(telling(done(step), "a.gone"))
    await transaction.rollback()
    assert await sent(kernel) == []
    assert (await kernel.finish(telling(done(step), "a.kept"))).superseded == []
    assert await sent(kernel) == ["a.kept"]


async def test_events_go_to_the_queue_of_their_tasks_namespace(kernel):
    await kernel.submit(await kernel.template(ONE))
    await kernel.submit(await kernel.template(ONE, namespace="others"))
    steps = (await kernel.claim("w", 10, "tests", "others")).steps
    await kernel.finish(*(telling(done(step), f"a.{step.namespace}") for step in steps))
    assert await sent(kernel) == ["a.tests"]
    assert await sent(kernel, "others") == ["a.others"]


async def test_a_result_of_a_paused_task_sends_its_events_when_it_is_accepted(kernel):
    (task,), _ = await kernel.submit(await kernel.template(ONE))
    (step,) = (await kernel.claim()).steps
    await kernel.operate("pause", task)
    await kernel.finish(telling(done(step), "a.paused"))
    await kernel.operate("resume", task)
    assert await sent(kernel) == ["a.paused"]


async def test_a_queue_that_somebody_dropped_is_made_again(kernel):
    await kernel.submit(await kernel.template(ONE))
    (step,) = (await kernel.claim()).steps
    await kernel.connection.execute("select pgmq.drop_queue('tests_domain_events')")
    await kernel.finish(telling(done(step), "a.b"))
    assert await sent(kernel) == ["a.b"]


async def test_namespaces_of_before_an_upgrade_get_their_queue_by_it(kernel, database):
    await kernel.template(ONE)
    await kernel.connection.execute("select pgmq.drop_queue('tests_domain_events')")
    # Of functions that changed, all are made anew.
    await kernel.connection.execute("update tasker.migrations set sha256 = 'older' where name = 'functions'")
    assert await migrate(database) == ("functions",)
    assert await sent(kernel) == []


SAMPLED = "select attname from pg_stats where tablename = $1 order by attname"


async def test_messages_of_events_are_not_sampled_for_the_planner(kernel):
    await kernel.submit(await kernel.template(ONE))
    (step,) = (await kernel.claim()).steps
    await kernel.finish(telling(done(step), "a.b"))
    await kernel.connection.execute("analyze pgmq.q_tests_domain_events")
    sampled = [row["attname"] for row in await kernel.connection.fetch(SAMPLED, "q_tests_domain_events")]
    assert "msg_id" in sampled
    assert "message" not in sampled


@pytest.mark.parametrize("queue", ["tests_domain_events", "bound"])
async def test_queues_of_events_of_before_an_upgrade_are_kept_as_new_ones_are(kernel, database, queue):
    await kernel.template(ONE)
    await kernel.connection.execute("select tasker.event_queue_create('bound', false, false)")
    await kernel.connection.execute(
        "insert into tasker.event_bindings (queue, pattern, regex) values ('bound', '#', '.*')"
    )
    new = await kept(kernel, queue)
    await kernel.connection.execute(
        f"alter table pgmq.q_{queue} reset (autovacuum_vacuum_insert_threshold), alter message set statistics -1"
    )
    assert await kept(kernel, queue) != new
    await kernel.connection.execute("delete from tasker.migrations where version = 21")
    assert await migrate(database) == ("0021_event_tables",)
    assert await kept(kernel, queue) == new


async def kept(kernel, queue: str) -> tuple[set[str], int | None]:
    """The options of a queue's table, and how much of its messages is sampled (None: as usual)."""
    row = await kernel.connection.fetchrow(
        "select c.reloptions, nullif(a.attstattarget, -1) as target from pg_class c"
        " join pg_attribute a on a.attrelid = c.oid and a.attname = 'message' where c.oid = $1::text::regclass",
        f"pgmq.q_{queue}",
    )
    return set(row["reloptions"]), row["target"]


async def test_of_a_retry_that_is_none_any_more_nothing_is_told_but_of_the_others_of_its_report(kernel):
    template = await kernel.template({"a": []})
    (over, going), _ = await kernel.submit(template, 2)
    steps = {step.task_uuid: step for step in (await kernel.claim()).steps}
    await kernel.operate("cancel", over, running="finish")
    again = [failed(steps[task], retry_after=timedelta(seconds=9)) for task in (over, going)]
    answer = await kernel.finish(*(telling(outcome, f"a.{outcome.task_uuid}") for outcome in again))
    assert (answer.final, answer.superseded) == ([steps[over].step_uuid], [])
    assert await sent(kernel) == [f"a.{going}"]


async def test_a_retry_that_ends_with_its_batch_in_the_same_report_is_final(kernel):
    template = await kernel.template({"first": [], "second": []})
    await kernel.submit(template)
    await kernel.connection.execute(
        "update tasker.steps set made_by = task_uuid, template_step = 'first', if_failed = 'stop_batch'"
    )
    first, second = (await kernel.claim()).steps
    last, again = failed(first), failed(second, retry_after=timedelta(seconds=9))
    answer = await kernel.finish(telling(last, "a.failed"), telling(again, "a.retried"))
    assert answer.final == [second.step_uuid]
    assert await sent(kernel) == ["a.failed"]
