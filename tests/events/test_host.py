"""Subscribers of a host: what is told when, what the host tells of itself, and the end."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import structlog

from tasker_host import DomainEvent, PermanentError, Publisher, RetryableError, StepContext, Subscriber, step_handler
from tests.events.test_publishing import HANDLERS, Heard, declared, giving
from tests.support import chain, ended, plugin, run_to_end, running_host, submit

FAST = {"name": "a.b", "delivery_mode": "fast"}


async def test_nothing_is_told_before_the_result_is_committed(dsn):
    states: list[Any] = []
    done = asyncio.Event()

    async def receive(event: DomainEvent) -> None:
        states.append(
            await host.database.fetchval(
                "select state from tasker.steps where step_uuid = $1::text::uuid", event.metadata["step_uuid"]
            )
        )
        done.set()

    given = plugin(HANDLERS, [declared("fine", FAST)], **giving(tasker_subscribers=[Subscriber("s", ["a.b"], receive)]))
    async with running_host(dsn, given) as host:
        await run_to_end(host, "t")
        await asyncio.wait_for(done.wait(), 10)
    assert states == ["complete"]


async def test_a_result_that_came_too_late_is_told_to_nobody(dsn):
    started, heard = asyncio.Event(), Heard()
    gate = asyncio.Event()

    @step_handler("late")
    async def late() -> int:
        started.set()
        await gate.wait()
        return 1

    events = [{"name": "a.b", "delivery_mode": "broadcast"}, {"name": "a.failed", "condition": "failure"}]
    given = plugin(
        [late, *HANDLERS],
        [declared("late", *events), declared("fine", FAST, name="other")],
        **giving(tasker_subscribers=[Subscriber("s", ["a.*"], heard.receive)]),
    )
    async with running_host(dsn, given) as host:
        await submit(host, "t")
        await started.wait()
        # As if another worker had taken it over meanwhile.
        await host.database.fetch("update tasker.steps set worker = 'another'")
        gate.set()
        await run_to_end(host, "other")
        await heard.until(1)
        assert [one.metadata["step_name"] for one in heard.events] == ["only"]
        assert heard.events[0].event_name == "a.b"
        assert await host.database.fetchval("select count(*) from pgmq.q_tests_domain_events") == 0
        counted = {row["event_name"]: row["published"] for row in host.events.ledger.rows()}
    assert counted == {"a.b": 1}


async def test_the_host_tells_of_its_steps_tasks_and_events(dsn):
    @step_handler("twice")
    async def twice(context: StepContext) -> int:
        if context.attempt == 1:
            raise RetryableError("again", retry_after=0)
        return 2

    def broken(step: Any, result: Any, event: Any) -> Any:
        raise ValueError("nothing to say")

    heard = Heard()
    given = plugin(
        [twice],
        [declared("twice", {"name": "a.b", "publisher": "Broken"})],
        **giving(
            tasker_subscribers=[Subscriber("s", ["host.**"], heard.receive)],
            tasker_publishers=[Publisher("Broken", broken)],
        ),
    )
    async with running_host(dsn, given) as host:
        row = await run_to_end(host, "t")
        events = await heard.until(4)
        worker = host.worker.id
    first, failed, second, task = events
    assert [event.event_name for event in events] == [
        "host.step.finished",
        "host.event.failed",
        "host.step.finished",
        "host.task.finished",
    ]
    assert {event.metadata["fired_by"] for event in events} == {worker}
    assert (first.payload["outcome"], first.payload["will_retry"]) == ("failed", True)
    assert first.payload["error"]["message"] == "again"
    assert (second.payload["outcome"], second.payload["error"]) == ("succeeded", None)
    assert (second.metadata["step_name"], second.metadata["attempt"]) == ("only", 2)
    assert failed.payload == {
        "event_name": "a.b",
        "publisher": "Broken",
        "error": "ValueError: nothing to say",
        "step_name": "only",
    }
    assert task.payload == {"state": "complete", "steps_total": 1, "steps_done": 1, "steps_failed": 0}
    assert task.metadata["task_uuid"] == str(row["task_uuid"])
    assert (task.metadata["namespace"], task.metadata["template_name"]) == ("tests", "t")


async def test_the_host_tells_of_plugins_that_failed(dsn):
    heard = Heard()

    def broken() -> list[Any]:
        raise ValueError("no gateway")

    good = plugin(
        HANDLERS, [declared("fine")], **giving(tasker_subscribers=[Subscriber("s", ["host.*.failed"], heard.receive)])
    )
    async with running_host(dsn, good, plugin([], tasker_publishers=broken)):
        (event,) = await heard.until(1)
    assert event.event_name == "host.plugin.failed"
    assert (event.payload["plugin"], event.payload["status"]) == ("p1", "failed")
    assert "no gateway" in event.payload["faults"][0]


async def test_what_the_host_tells_costs_nothing_when_nobody_hears_it(dsn):
    given = plugin(
        HANDLERS, [declared("fine")], **giving(tasker_subscribers=[Subscriber("s", ["**"], Heard().receive)])
    )
    async with running_host(dsn, given) as host:
        (plan,) = host.catalog.known(1).values()
        assert not host.events.concern(plan)
        await run_to_end(host, "t")
        assert host.events.summary()["in_process_bus"]["total_events_dispatched"] == 0


async def test_a_host_that_stops_lets_subscribers_hear_what_is_queued(dsn):
    got: list[Any] = []

    async def receive(event: DomainEvent) -> None:
        await asyncio.sleep(0.001)
        got.append(event.metadata["task_uuid"])

    given = plugin(HANDLERS, [declared("fine", FAST)], **giving(tasker_subscribers=[Subscriber("s", ["a.b"], receive)]))
    async with running_host(dsn, given) as host:
        tasks = [await submit(host, "t", {"n": number}) for number in range(20)]
        await ended(host, *tasks)
    assert sorted(got) == sorted(map(str, tasks))


async def test_a_host_that_stops_says_what_it_dropped(dsn):
    async def receive(_: DomainEvent) -> None:
        await asyncio.Event().wait()

    given = plugin(
        HANDLERS, [declared("fine", FAST)], **giving(tasker_subscribers=[Subscriber("hangs", ["a.b"], receive)])
    )
    with structlog.testing.capture_logs() as logs:
        async with running_host(dsn, given, events__drain_seconds=0.05) as host:
            await ended(host, *[await submit(host, "t", {"n": number}) for number in range(3)])
    (told,) = [line for line in logs if line["event"] == "events dropped at the stop"]
    assert (told["subscriber"], told["dropped"]) == ("hangs", 3)


async def test_fast_events_are_logged_where_that_is_asked_for(dsn):
    with structlog.testing.capture_logs() as logs:
        async with running_host(dsn, plugin(HANDLERS, [declared("fine", FAST)]), events__log=["a.*"]) as host:
            row = await run_to_end(host, "t")
    (line,) = [line for line in logs if line["event"] == "domain event"]
    assert (line["event_name"], line["task"], line["step"]) == ("a.b", str(row["task_uuid"]), "only")


async def test_the_counts_of_hosts_are_added_up_in_the_database(dsn):
    for _ in range(2):
        async with running_host(dsn, plugin(HANDLERS, [declared("fine", {"name": "a.b"}, FAST)])) as host:
            await run_to_end(host, "t", {"n": str(host)})
    async with running_host(dsn, worker=False) as host:
        rows = await host.database.fetch("select event_name, publisher, published, failed from tasker.event_ledger")
    assert [tuple(row) for row in rows] == [("a.b", "default", 4, 0)]


async def test_steps_without_events_publish_nothing(dsn):
    async with running_host(dsn, plugin(HANDLERS, [chain("t", "fine")])) as host:
        await run_to_end(host, "t")
        assert await host.database.fetchval("select count(*) from pgmq.q_tests_domain_events") == 0
        assert host.events.ledger.rows() == []


async def test_a_step_below_a_failure_that_never_runs_publishes_nothing(dsn):
    @step_handler("broken")
    async def broken() -> None:
        raise PermanentError("no")

    text = """
    name: t
    namespace_name: tests
    version: 1.0.0
    steps:
      - name: first
        handler: {callable: broken}
        publishes_events: [{name: first.always, condition: always}]
      - name: second
        handler: {callable: fine}
        dependencies: [first]
        publishes_events: [{name: second.always, condition: always}]
    """
    async with running_host(dsn, plugin([broken, *HANDLERS], [text])) as host:
        await run_to_end(host, "t")
        rows = await host.database.fetch("select message->>'event_name' from pgmq.q_tests_domain_events")
    assert [row[0] for row in rows] == ["first.always"]


async def test_a_worker_that_vanished_on_the_last_attempt_is_told_of_once_by_another_host(dsn):
    async def says(step: StepContext, result: Any, event: Any) -> Any:
        return {"n": step.input["n"], "why": result.error_type, "attempt": step.attempt}

    heard = Heard()
    events = [
        {"name": "a.default", "condition": "permanent_failure"},
        {"name": "a.own", "condition": "always", "publisher": "Says", "delivery_mode": "broadcast"},
        {"name": "a.retried", "condition": "retryable_failure"},
    ]
    given = plugin(
        HANDLERS,
        [declared("fine", *events, max_attempts=1)],
        **giving(
            tasker_subscribers=[Subscriber("s", ["a.*"], heard.receive)], tasker_publishers=[Publisher("Says", says)]
        ),
    )
    async with running_host(dsn, given, worker=False) as host:
        task = await submit(host, "t", {"n": 7})
        # As a worker leaves it that is killed: taken, and its lease over.
        taken = "select * from tasker.steps_claim('lost', array['tests'], 1, interval '-1 second', null)"
        assert len(await host.database.fetch(taken)) == 2
    async with running_host(dsn, given, events__ledger_seconds=0.05) as host:
        await ended(host, task)
        (own,) = await heard.until(1)
        rows = await host.database.fetch("select message from pgmq.q_tests_domain_events order by msg_id")
        assert await host.database.fetchval("select count(*) from tasker.events_owed") == 0
    messages = [json.loads(row["message"]) for row in rows]
    assert [message["event_name"] for message in messages] == ["a.default", "a.own"]
    assert messages[0]["payload"] == {
        "error_type": "worker_lost",
        "message": "the worker lost vanished during attempt 1 of 1",
        "attempt": 1,
        "retryable": False,
    }
    assert messages[1] == own.as_message()
    assert own.payload == {"n": 7, "why": "worker_lost", "attempt": 1}
    assert own.metadata["outcome"] == "permanent_failure"
