"""Twice the same work under two conditions, turn by turn: what a condition costs.

`python tests/benchmarks/pairs.py limits` and `… crowd`. Both hosts and both databases stay from the first round to the
last. The rounds are many and short, as the speed of a shared machine changes within seconds; what is said is the median
of their ratios. A ratio of 1 means that the condition costs nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from operator import truediv
from pathlib import Path
from typing import Any

sys.path.insert(1, str(Path(__file__).resolve().parents[2]))  # what is measured is this checkout

from databases import describe, fresh_database, server, settle
from plugin import NAMESPACE, plugin
from product import Product, config
from workloads import CHAIN4, Workload

from tasker_host.host import Host
from tasker_host.runtime.garbage import spare_what_is_loaded
from tasker_host.runtime.logs import configure_logs

WORK = Workload("chain4", "throughput", "steps/s", CHAIN4, tasks=250)

Prepare = Callable[[Host, int], Awaitable[None]]
"""Makes the condition, of this size."""


@dataclass(frozen=True)
class Pair:
    """`plain` and `loaded` are the two; `rules` are keys of the template of the second one."""

    name: str
    prepare: Prepare
    size: int = 0
    rules: Mapping[str, Any] = field(default_factory=dict)


FAR_ABOVE = 100_000


NAMESPACE_KEY, HANDLER_KEY = f"namespace:{NAMESPACE}", "handler:bench.count"
BUSINESS_KEY = {"concurrency_key": "n-{n}", "concurrency_limit": 1000}


def limited(*keys: str) -> Prepare:
    """Limits that are never reached."""

    async def prepare(host: Host, _: int) -> None:
        for key in keys:
            await host.database.fetch(
                "select tasker.limit_set($1, $2, null, 1, false, 'benchmark', 'far above use')", key, FAR_ABOVE
            )

    return prepare


CROWD = """
with task as (
    insert into tasker.tasks (task_uuid, template_id, namespace, state, state_since, steps_total, steps_done, rank,
                              context, correlation_id, initiator, source_system, reason, created_at, completed_at)
    select tasker.uuid7(), t.template_id, t.namespace, $2, now(), 1, ($2 = 'complete')::int, 0, '{"n": 1}',
           tasker.uuid7(), 'me', 'bench', 'crowd', now(), case when $2 = 'complete' then now() end
    from generate_series(1, $1), (select template_id, namespace from tasker.templates limit 1) t
    returning task_uuid
), step as (
    insert into tasker.steps (step_uuid, task_uuid, position, name, template_step, state, state_since, waits_on,
                              parents, children, reads, attempts, max_attempts, msg_id, result, retry_at)
    select tasker.uuid7(), task_uuid, 1, 's0', 's0', $3, now(), 0, '{}', '{}', '{}', 1, 3,
           case when $3 <> 'complete' then nextval(pg_get_serial_sequence('pgmq.q_bench_queue', 'msg_id')) end,
           case when $3 = 'complete' then '{"n": 1}'::json end,
           case when $3 <> 'complete' then now() + interval '1 day' end
    from task returning step_uuid, task_uuid, msg_id, retry_at
), told as (
    insert into tasker.step_history (task_uuid, step_uuid, from_state, to_state, at, attempt, worker)
    select task_uuid, step_uuid, f, t, now(), 1, 'crowd'
    from step, (values ('enqueued', 'in_progress'), ('in_progress', $3)) moves (f, t)
)
insert into pgmq.q_bench_queue (msg_id, vt, message) overriding system value
select msg_id, retry_at + random() * interval '1 day',
       jsonb_build_object('task_uuid', task_uuid, 'step_uuid', step_uuid)
from step where msg_id is not null
"""


async def crowded(host: Host, size: int) -> None:
    """So many finished tasks, and as many whose only step waits for a retry tomorrow."""
    connection = await host.database.connect(role="crowd")
    for _ in range(0, size, 50_000):
        many = min(size, 50_000)
        await connection.execute(CROWD, many, "complete", "complete")
        await connection.execute(CROWD, many, "waiting_for_retry", "waiting_for_retry")
    await connection.execute("vacuum analyze")
    await connection.close()


PAIRS = {
    "limits": Pair("limits", limited(NAMESPACE_KEY, HANDLER_KEY), rules=BUSINESS_KEY),
    "namespace": Pair("namespace", limited(NAMESPACE_KEY)),
    "handler": Pair("handler", limited(HANDLER_KEY)),
    "key": Pair("key", limited(), rules=BUSINESS_KEY),
    "crowd": Pair("crowd", crowded, size=1_000_000),
}


async def measure(server_dsn: str, pair: Pair, rounds: int, tasks: int) -> dict[str, Any]:
    async with AsyncExitStack() as stack:
        runners: dict[str, Product] = {}
        for name, rules in (("plain", {}), (pair.name, pair.rules)):
            dsn = await stack.enter_async_context(fresh_database(server_dsn))
            made = plugin(WORK, **rules)
            host = await stack.enter_async_context(Host(config(dsn), plugins={"bench": made}, entry_points=False))
            runners[name] = Product(host, WORK)
            if rules or name != "plain":
                await pair.prepare(host, pair.size)
        spare_what_is_loaded()  # as `tasker run` does
        each: dict[str, list[float]] = {name: [] for name in runners}
        for runner in runners.values():
            await runner.run(20)
        await settle(server_dsn)
        for turn in range(rounds):
            # Which one goes first changes, so that neither always runs in the other's wake.
            for name in sorted(runners, reverse=bool(turn % 2)):
                started = time.perf_counter()
                await runners[name].run(tasks)
                each[name].append(round(tasks * WORK.steps / (time.perf_counter() - started), 1))
        medians = {name: statistics.median(values) for name, values in each.items()}
        return {
            "pair": pair.name,
            "unit": WORK.unit,
            **medians,
            "ratio": round(statistics.median(map(truediv, each[pair.name], each["plain"])), 3),
            "rounds": each,
            "conditions": {"tasks": tasks, "size": pair.size, **await describe(server_dsn)},
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pair", choices=PAIRS)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--tasks", type=int, default=WORK.tasks, help="of four steps, each round of each")
    parser.add_argument("--size", type=int, help="rows of each kind, instead of the pair's own number")
    parser.add_argument(
        "--url", help="a PostgreSQL server whose role may create databases, instead of the embedded one"
    )
    options = parser.parse_args()
    configure_logs("warning", "console")
    pair = PAIRS[options.pair]
    if options.size is not None:
        pair = Pair(pair.name, pair.prepare, options.size, pair.rules)
    with server(options.url) as dsn:
        print(json.dumps(_run(measure(dsn, pair, options.rounds, options.tasks))))


def _run(work: Any) -> Any:
    if sys.platform == "win32":
        return asyncio.run(work)
    import uvloop

    return uvloop.run(work)


if __name__ == "__main__":
    main()
