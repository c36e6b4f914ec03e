"""`tasker event stats` and `tail`, on what a host has published."""

from __future__ import annotations

import asyncio
import json

import pytest

from tasker_host import step_handler
from tests.support import plugin, run_to_end, running_host

TEMPLATE = """
name: t
namespace_name: tests
version: 1.0.0
steps:
  - name: only
    handler: {callable: fine}
    publishes_events: [{name: order.placed}, {name: order.line.added}, {name: order.bad, schema: {type: string}}]
"""


@step_handler("fine")
async def fine() -> dict[str, int]:
    return {"n": 1}


@pytest.fixture
async def tasks(dsn):
    """Two tasks that published; their host has stopped."""
    async with running_host(dsn, plugin([fine], [TEMPLATE])) as host:
        return [(await run_to_end(host, "t", {"n": number}))["task_uuid"] for number in range(2)]


@pytest.fixture
def told(tasker, dsn):
    async def run(*arguments: str):
        return await asyncio.to_thread(tasker, "event", *arguments, DATABASE_URL=dsn)

    return run


async def test_stats_count_what_hosts_published_also_after_their_end(tasks, told):
    shown = await told("stats", "--json")
    assert shown.code == 0
    counted = {row["event_name"]: (row["published"], row["declined"], row["failed"]) for row in shown.json["events"]}
    assert counted == {"order.placed": (2, 0, 0), "order.line.added": (2, 0, 0), "order.bad": (0, 0, 2)}
    people = (await told("stats", "--namespace", "tests")).out
    assert "order.placed" in people
    assert "order.bad failed last at" in people
    unknown = await told("stats", "--namespace", "nobody")
    assert (unknown.code, unknown.err) == (2, "error: no namespace 'nobody'; there is tests\n")


async def test_tail_prints_the_last_events_of_a_pattern_or_a_task(tasks, told):
    def events(shown):
        assert (shown.code, shown.err) == (0, "")
        return [json.loads(line) for line in shown.out.splitlines()]

    everything = events(await told("tail", "--json"))
    names = ["order.placed", "order.line.added"]
    assert [event["event_name"] for event in everything] == names * 2
    assert [event["metadata"]["task_uuid"] for event in everything[::2]] == [str(task) for task in tasks]
    assert [event["event_name"] for event in events(await told("tail", "--json", "-n", "1"))] == ["order.line.added"]
    one = events(await told("tail", "--json", "--name", "order.*", "--task", str(tasks[0])))
    assert [(event["event_name"], event["payload"]) for event in one] == [("order.placed", {"n": 1})]
    (line,) = (await told("tail", "-n", "1", "--namespace", "tests")).out.splitlines()
    assert line.endswith('  order.line.added  tests  only  {"n":1}')


async def test_tail_says_what_it_was_asked_wrongly(tasks, told):
    unknown = await told("tail", "--namespace", "nobody")
    assert (unknown.code, unknown.err) == (2, "error: no namespace 'nobody'; there is tests\n")
    wrong = await told("tail", "--name", "order.")
    assert wrong.code == 2
    assert wrong.err.startswith("error: --name 'order.' is no pattern of event names: '' is neither a segment")


async def test_what_others_have_sent_to_the_queue_is_not_shown(tasks, told, database):
    line = (await told("tail", "-n", "1")).out
    for message in (
        "5",
        '{"event_name": 5, "metadata": {}, "payload": 1}',
        '{"event_name": "a.b", "metadata": [], "payload": 1}',
    ):
        await database.fetch("select pgmq.send('tests_domain_events', $1::jsonb)", message)
    assert (await told("tail", "-n", "1")).out == line
