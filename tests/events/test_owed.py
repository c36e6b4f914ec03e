"""Failures that were to be tried again and will not be, as their task was over by then: told as what they are."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from tasker_host import RetryableError, StepContext, Subscriber, step_handler
from tasker_host.worker.owed import OwedEvents
from tests.events.test_publishing import HANDLERS, Heard, declared, giving
from tests.support import ended, plugin, running_host, submit

EVENTS = [
    {"name": "a.retried", "condition": "retryable_failure", "delivery_mode": "broadcast"},
    {"name": "a.final", "condition": "permanent_failure", "delivery_mode": "broadcast"},
    {"name": "a.any", "condition": "failure"},
]


async def told(host: Any) -> list[tuple[str, int, str]]:
    """Name, attempt and outcome of the durable events, in their order."""
    rows = await host.database.fetch("select message from pgmq.q_tests_domain_events order by msg_id")
    messages = [json.loads(row["message"]) for row in rows]
    return [
        (m["event_name"], m["metadata"].get("attempt", 1), m["metadata"].get("outcome", "success")) for m in messages
    ]


async def test_a_retryable_failure_of_a_cancelled_task_is_told_as_permanent_once_on_both_paths(dsn):
    started, gate, heard = asyncio.Event(), asyncio.Event(), Heard()

    @step_handler("busy")
    async def busy(context: StepContext) -> None:
        if context.attempt == 2:
            started.set()
            await gate.wait()
        raise RetryableError("gateway busy", retry_after=0)

    given = plugin(
        [busy],
        [declared("busy", *EVENTS, max_attempts=9)],
        **giving(tasker_subscribers=[Subscriber("s", ["a.*", "host.step.finished"], heard.receive)]),
    )
    async with running_host(dsn, given, events__ledger_seconds=0.05) as host:
        task = await submit(host, "t")
        await asyncio.wait_for(started.wait(), 10)
        await host.operations.cancel(task, reason="no longer wanted")
        gate.set()
        events = await heard.until(4)
        (row,) = await ended(host, task)
        assert await told(host) == [
            ("a.retried", 1, "retryable_failure"),
            ("a.any", 1, "retryable_failure"),
            ("a.final", 2, "permanent_failure"),
            ("a.any", 2, "permanent_failure"),
        ]
        assert await host.database.fetchval("select count(*) from tasker.events_owed") == 0
        counted = {one["event_name"]: one["published"] for one in host.events.ledger.rows()}
    assert [(e.event_name, e.payload.get("will_retry")) for e in events] == [
        ("a.retried", None),
        ("host.step.finished", True),
        ("a.final", None),
        ("host.step.finished", False),
    ]
    assert events[3].payload["error"]["will_retry"] is False
    assert counted == {"a.retried": 1, "a.any": 2, "a.final": 1}
    (step,) = row["steps"]
    assert (step["current_state"], step["error"]["will_retry"]) == ("error", False)


async def test_what_was_built_is_sent_before_publishers_take_too_long_for_a_transaction(dsn, monkeypatch):
    monkeypatch.setattr("tasker_host.worker.owed.BUILDING_SECONDS", 0.0)
    given = plugin(HANDLERS, [declared("fine", {"name": "a.lost", "condition": "failure"}, max_attempts=1)])
    async with running_host(dsn, given, worker=False) as host:
        tasks = [await submit(host, "t", {"n": number}) for number in range(3)]
        # As a worker leaves them that is killed: taken, and its lease over.
        await host.database.fetch("select tasker.steps_claim('lost', array['tests'], 3, interval '-1 second', null)")
        await host.database.fetch("select tasker.steps_claim('finds', array['tests'], 3, interval '1 second', null)")
        owed = OwedEvents(host.database, host.events, host.catalog, host.catalog.template_ids, lambda: None)
        assert [await owed.send() for _ in range(4)] == [1, 1, 1, 0]
        assert [name for name, _, _ in await told(host)] == ["a.lost"] * 3
        assert {row["status"] for row in await ended(host, *tasks)} == {"blocked_by_failures"}
