"""`python tests/benchmarks/events.py`: what durable events add to a step, and how many fast ones get through.

One host runs the same tasks with and without events in turn, so that both meet the same machine at the same time.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import itertools
import json
import random
import statistics
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any
from uuid import UUID

sys.path.insert(1, str(Path(__file__).resolve().parents[2]))  # what is measured is this checkout

from databases import describe, fresh_database, server, settle
from plugin import NAMESPACE, count
from product import STALLED_SECONDS, config
from workloads import CHAIN4

from tasker_host import DomainEvent, Host, Subscriber, TaskTemplate, hookimpl
from tasker_host.domain.ids import uuid7
from tasker_host.domain.request import TaskRequest
from tasker_host.events.fast import FastBus
from tasker_host.runtime.garbage import spare_what_is_loaded
from tasker_host.runtime.logs import configure_logs

SCHEMA = {"type": "object", "required": ["n"], "properties": {"n": {"type": "integer"}}}
VARIANTS: dict[str, list[dict[str, Any]]] = {
    "plain": [],
    "durable": [{"name": "bench.counted"}],
    "checked": [{"name": "bench.counted", "schema": SCHEMA}],
}
"""What every step of a variant publishes: nothing, one durable event, one whose payload is checked by a schema."""

WARMUPS = 4
WARMUP_TASKS = 250
"""As many as in a round, so that the queue has had the space that one takes."""

_numbers = itertools.count()


def template(name: str, events: list[dict[str, Any]]) -> TaskTemplate:
    steps = [
        {
            "name": f"s{step}",
            "handler": {"callable": "bench.count"},
            "dependencies": [f"s{parent}" for parent in parents],
            "publishes_events": events,
        }
        for step, parents in enumerate(CHAIN4)
    ]
    data = {"namespace_name": NAMESPACE, "name": name, "version": "1.0.0", "steps": steps}
    return TaskTemplate.model_validate(data)


def plugin() -> ModuleType:
    module = ModuleType("bench")

    @hookimpl
    def tasker_handlers() -> list[object]:
        return [count]

    @hookimpl
    def tasker_templates() -> list[TaskTemplate]:
        return [template(name, events) for name, events in VARIANTS.items()]

    module.tasker_handlers = tasker_handlers  # type: ignore[attr-defined]
    module.tasker_templates = tasker_templates  # type: ignore[attr-defined]
    return module


# Durable events -------------------------------------------------------------------------------------------------------


async def measure_durable(server_dsn: str, tasks: int, rounds: int, *, keep: bool) -> dict[str, Any]:
    """Wall and processor time of a step in microseconds, by variant, and what events add to it in percent."""
    wall: dict[str, list[float]] = {name: [] for name in VARIANTS}
    used: dict[str, list[float]] = {name: [] for name in VARIANTS}
    sent = 0
    async with (
        fresh_database(server_dsn) as dsn,
        Host(config(dsn), plugins={"bench": plugin()}, entry_points=False) as host,
    ):
        spare_what_is_loaded()  # as `tasker run` does
        for name in list(VARIANTS) * WARMUPS:
            await _run(host, name, WARMUP_TASKS)
        sent += await _consumed(host)
        await settle(server_dsn)
        for number in range(rounds):
            # In an order of chance: what follows itself is faster, which must not always be the same one.
            for name in random.Random(number).sample(list(VARIANTS), len(VARIANTS)):
                gc.collect()
                before, started = await _cpu(host), time.perf_counter()
                await _run(host, name, tasks)
                steps = tasks * len(CHAIN4)
                wall[name].append((time.perf_counter() - started) / steps * 1e6)
                used[name].append((await _cpu(host) - before) / steps * 1e6)
                if not keep:
                    sent += await _consumed(host)
        sent += await _consumed(host)
        expected = (WARMUPS * WARMUP_TASKS + rounds * tasks) * len(CHAIN4) * (len(VARIANTS) - 1)
        if sent != expected:
            raise RuntimeError(f"{sent} events were sent, and not {expected}")
    return {
        "wall_us": {name: round(statistics.median(found), 1) for name, found in wall.items()},
        "cpu_us": {name: round(statistics.median(found), 1) for name, found in used.items()},
        "added_wall_percent": {name: _added(wall, name) for name in VARIANTS if name != "plain"},
        "added_cpu_percent": {name: _added(used, name) for name in VARIANTS if name != "plain"},
        "events": sent,
    }


def _added(found: dict[str, list[float]], name: str) -> float:
    """Median over the rounds of what `name` took more than plain did in the same round."""
    return round(statistics.median(100 * (a / b - 1) for a, b in zip(found[name], found["plain"], strict=True)), 1)


async def _run(host: Host, name: str, tasks: int) -> None:
    requests = [TaskRequest(namespace=NAMESPACE, name=name, context={"n": next(_numbers)}) for _ in range(tasks)]
    uuids: list[UUID] = []
    for answer in await host.submissions.submit_many(requests):
        if not isinstance(answer, UUID):
            raise answer
        uuids.append(answer)
    await host.watch.settled(uuids, timeout_seconds=STALLED_SECONDS)


async def _consumed(host: Host) -> int:
    """Takes everything out of the queue, as those who read it do, and frees its space; how many it were."""
    queue = f"pgmq.q_{NAMESPACE}_domain_events"
    gone: int = await host.database.fetchval(
        f"with gone as (delete from {queue} returning 1) select count(*) from gone"
    )
    await host.database.fetch(f"vacuum (truncate off) {queue}")
    return gone


async def _cpu(host: Host) -> float:
    """Processor seconds of this process and, where they can be seen, of the server's processes for this database."""
    used = time.process_time()
    rows = await host.database.fetch("select pid from pg_stat_activity where datname = current_database()")
    for row in rows:
        with suppress(OSError):
            used += int(Path(f"/proc/{row['pid']}/schedstat").read_text().split()[0]) / 1e9
    return used


# Fast events ----------------------------------------------------------------------------------------------------------


async def measure_fast(events: int, rounds: int) -> dict[str, Any]:
    """Events per second from `publish` until one subscriber has had them all, async and sync."""
    return {
        kind: round(statistics.median([await _dispatch(events, kind) for _ in range(rounds)]))
        for kind in ("async", "sync")
    }


async def _dispatch(events: int, kind: str) -> float:
    heard = 0

    async def receive(_: DomainEvent) -> None:
        nonlocal heard
        heard += 1

    def receive_in_thread(_: DomainEvent) -> None:
        nonlocal heard
        heard += 1

    call = receive if kind == "async" else receive_in_thread
    bus = FastBus([Subscriber("bench", ["payment.**"], call, queue_size=events)], timeout_seconds=5)
    bus.start()
    event = DomainEvent(uuid7(), "payment.card.charged", {"n": 1}, {"namespace": NAMESPACE})
    started = time.perf_counter()
    for number in range(events):
        bus.publish(event)
        if number % 1000 == 999:
            await asyncio.sleep(0)  # as the loop of a host does between two steps
    while heard < events:
        await asyncio.sleep(0)
    took = time.perf_counter() - started
    left = await bus.close(drain_seconds=1)
    if left or bus.stats()[0]["dropped"]:
        raise RuntimeError("events were dropped")
    return events / took


# Output ---------------------------------------------------------------------------------------------------------------


async def measure(options: argparse.Namespace) -> dict[str, Any]:
    import os
    import platform

    conditions: dict[str, Any] = {
        "cpus": os.cpu_count(),
        "load_average": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "python": platform.python_version(),
        "event_loop": type(asyncio.get_running_loop()).__module__,
        "rounds": options.rounds,
    }
    found: dict[str, Any] = {"fast_events_per_second": await measure_fast(options.events, max(1, options.rounds // 15))}
    if options.tasks:
        with server(options.url) as dsn:
            conditions |= {
                "queue_is_read": not options.keep,
                "tasks": options.tasks,
                "steps_per_task": len(CHAIN4),
                **await describe(dsn),
            }
            found["durable"] = await measure_durable(dsn, options.tasks, options.rounds, keep=options.keep)
    return {**found, "conditions": {**conditions, "fast_events": options.events}}


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON line")
    # Many short rounds: the speed of a shared machine changes from one second to the next.
    parser.add_argument("--rounds", type=int, default=100, help="of each variant (default 100), of fast events a 15th")
    parser.add_argument("--tasks", type=int, default=250, help="of four steps, in each round; 0: fast events only")
    parser.add_argument("--events", type=int, default=400_000, help="fast events in each round")
    parser.add_argument("--keep", action="store_true", help="nobody reads the queue of durable events, which grows")
    parser.add_argument("--url", help="a PostgreSQL server whose role may create databases")
    options = parser.parse_args(arguments)
    configure_logs("warning", "console")
    runner: Any = asyncio.run
    if sys.platform != "win32":
        import uvloop

        runner = uvloop.run
    found = runner(measure(options))
    print(json.dumps(found) if options.json else _table(found), flush=True)


def _table(found: dict[str, Any]) -> str:
    lines = [
        f"fast events to one subscriber: {kind} {rate:,}/s" for kind, rate in found["fast_events_per_second"].items()
    ]
    for key, unit in (("wall_us", "µs wall"), ("cpu_us", "µs processor")):
        if "durable" in found:
            lines += [f"a step, {name}: {value} {unit}" for name, value in found["durable"][key].items()]
    for key in ("added_wall_percent", "added_cpu_percent"):
        if "durable" in found:
            lines += [f"{key.replace('_', ' ')}, {name}: {value}" for name, value in found["durable"][key].items()]
    return "\n".join([*lines, f"conditions: {found['conditions']}"])


if __name__ == "__main__":
    main(sys.argv[1:])
