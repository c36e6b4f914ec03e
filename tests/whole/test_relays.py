"""Durable events on their way out of a host: routed, carried by relays, and never lost when a host dies."""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from tasker_host import Relay, step_handler
from tasker_host.db.relays import relays_stats
from tasker_host.domain.json import json_array
from tests.support import ended, plugin, running_host, submit

ROOT = Path(__file__).parents[2]
VICTIM = Path(__file__).with_name("relay_victim.py")

TELLING = """
name: telling
namespace_name: tests
version: 1.0.0
identity_strategy: always_unique
steps:
  - name: work
    handler: {callable: work}
    publishes_events:
      - {name: payment.processed, schema: {}}
      - {name: payment.card.charged, schema: {}}
"""


@step_handler("work")
async def work() -> dict[str, int]:
    return {"cents": 1250}


def relay_plugin(*relays: Relay):
    return plugin([work], [TELLING], tasker_relays=lambda: list(relays))


async def until(true) -> None:
    async with asyncio.timeout(20):
        while not await true():
            await asyncio.sleep(0.02)


async def test_a_relay_is_given_the_events_of_its_patterns_as_soon_as_they_are_committed(dsn):
    seen: asyncio.Queue = asyncio.Queue()
    # Polling alone would take an hour.
    options = {"events__relays__poll_interval_seconds": 3600.0}
    async with running_host(dsn, relay_plugin(Relay("erp", ["payment.*"], seen.put)), **options) as host:
        task = await submit(host, "telling")
        await ended(host, task)
        event = await asyncio.wait_for(seen.get(), 10)
        assert (event.event_name, event.payload, event.metadata["task_uuid"]) == (
            "payment.processed",
            {"cents": 1250},
            str(task),
        )
        assert seen.empty()


async def test_a_relay_of_another_host_is_woken_too(dsn):
    seen: asyncio.Queue = asyncio.Queue()
    polling = {"events__relays__poll_interval_seconds": 3600.0}
    only_relays = plugin([], tasker_relays=lambda: [Relay("erp", ["payment.*"], seen.put)])
    async with running_host(dsn, only_relays, **polling), running_host(dsn, plugin([work], [TELLING])) as host:
        await asyncio.sleep(0)
        await ended(host, await submit(host, "telling"))
        assert (await asyncio.wait_for(seen.get(), 10)).event_name == "payment.processed"


async def test_events_of_while_no_host_ran_the_relay_are_delivered_when_one_does(dsn):
    seen: asyncio.Queue = asyncio.Queue()
    relay = Relay("erp", ["payment.*"], seen.put)
    async with running_host(dsn, relay_plugin(relay), events__relays__enabled=False) as host:
        await ended(host, await submit(host, "telling"))
        assert seen.empty()
    async with running_host(dsn, plugin([work], [TELLING])) as host:
        await ended(host, await submit(host, "telling"))
    async with running_host(dsn, relay_plugin(relay)):
        names = [(await asyncio.wait_for(seen.get(), 10)).event_name for _ in range(2)]
    assert names == ["payment.processed"] * 2


async def test_queues_are_bound_by_configuration_and_no_longer_when_it_says_so(dsn):
    bound = [{"pattern": "payment.**", "queue": "money"}]
    async with running_host(dsn, plugin([work], [TELLING]), events__bindings=bound) as host:
        await ended(host, await submit(host, "telling"))
    async with running_host(dsn, plugin([work], [TELLING])) as host:
        await ended(host, await submit(host, "telling"))
        rows = await host.database.fetch("select message ->> 'event_name' from pgmq.q_money order by msg_id")
        assert [row[0] for row in rows] == ["payment.processed", "payment.card.charged"]
        both = await host.database.fetchval("select count(*) from pgmq.q_tests_domain_events")
        assert both == 4


async def test_a_stopping_host_ends_its_deliveries_and_leaves_the_rest_to_others(dsn):
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def deliver(event):
        begun.set()
        await go_on.wait()

    async with running_host(dsn, relay_plugin(Relay("erp", ["payment.**"], deliver, concurrency=1))) as host:
        await ended(host, await submit(host, "telling"))
        await begun.wait()
        asyncio.get_running_loop().call_later(0.05, go_on.set)
    async with running_host(dsn, plugin([work], [TELLING])) as host:
        (stats,) = await relays_stats(host.database)
        assert (stats["delivered"], stats["waiting"], stats["begun"]) == (1, 1, 0)


async def test_a_host_without_relays_and_bindings_has_nothing_to_do_for_them(dsn):
    async with running_host(dsn, plugin([work], [TELLING])) as host:
        assert host.relays.loops == []
        assert await host.database.fetchval("select count(*) from tasker.event_bindings") == 0


# Crashes --------------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def victim(dsn: str, ordered_by: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A host in a process of its own that delivers events and says which it begins and ends."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, VICTIM, dsn, ordered_by, stdout=asyncio.subprocess.PIPE, cwd=ROOT, env={"PYTHONPATH": str(ROOT)}
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def said(process: asyncio.subprocess.Process, log: list[tuple[float, str, str]]) -> None:
    assert process.stdout is not None
    async for line in process.stdout:
        word, _, what = line.decode().strip().partition(" ")
        log.append((asyncio.get_running_loop().time(), word, what))


@pytest.mark.parametrize("ordered_by", ["", "payload.key"])
async def test_hosts_killed_in_the_middle_lose_no_event_and_no_two_deliver_one_at_once(dsn, database, ordered_by):
    everything, keys = 300, 20
    log: list[tuple[float, str, str]] = []

    def count(word: str) -> int:
        return sum(1 for _, found, _ in log if found == word)

    async with asyncio.TaskGroup() as group, AsyncExitStack() as stack:
        first, second, third = [await stack.enter_async_context(victim(dsn, ordered_by)) for _ in range(3)]
        for process in (first, second, third):
            group.create_task(said(process, log))
        async with asyncio.timeout(60):
            while count("ready") < 3:
                await asyncio.sleep(0.01)
            events = [
                json.dumps(
                    {
                        "event_id": f"00000000-0000-7000-8000-{n:012}",
                        "event_name": "a.b",
                        "metadata": {},
                        "payload": {"key": n % keys},
                    }
                )
                for n in range(everything)
            ]
            await database.fetch("select tasker.namespace_create('tests')")
            await database.fetch("select tasker.events_send('tests', $1::jsonb)", json_array(events))
            for process in (first, second):
                before = count("end")
                while count("end") < before + 30:
                    await asyncio.sleep(0.001)
                process.kill()
                await process.wait()
                log.append((asyncio.get_running_loop().time(), "killed", str(process.pid)))
            while await database.fetchval("select count(*) from pgmq.q_slow_relay"):
                await asyncio.sleep(0.02)
        third.kill()
        await third.wait()
    delivered = {what.split()[0] for _, word, what in log if word == "end"}
    assert len(delivered) == everything
    (stats,) = await relays_stats(database)
    assert (stats["delivered"], stats["dead"]) == (everything, 0)
    # Who begins an event that another has begun and not ended, does so only because that one is dead.
    dead: set[str] = set()
    under_way: dict[str, set[str]] = {}
    begun: Counter[str] = Counter()
    for _, word, what in log:
        event, _, pid = what.partition(" ")
        if word == "killed":
            dead.add(event)
        elif word == "begin":
            assert under_way.setdefault(event, set()) <= dead
            under_way[event].add(pid)
            begun[event] += 1
        elif word == "end":
            under_way[event].discard(pid)
    assert max(begun.values()) <= 3
    if ordered_by:
        ended_in_order = list(dict.fromkeys(int(what[24:36]) for _, word, what in log if word == "end"))
        for key in range(keys):
            assert [n for n in ended_in_order if n % keys == key] == list(range(key, everything, keys))
