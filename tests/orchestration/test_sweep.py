"""The housekeeping of hosts."""

from __future__ import annotations

import asyncio
import json
import time
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from tasker_host import step_handler
from tasker_host.db.database import Database
from tasker_host.db.sweep import Policy, Thresholds
from tasker_host.orchestration.sweep import Sweeper, SweepOptions, sweep_options
from tests.support import chain, configured, ended, plugin, run_to_end, running_host, submit

RING = """
name: ring
namespace_name: tests
version: 1.0.0
steps:
  - {name: first, handler: {callable: quick}}
  - {name: a, handler: {callable: quick}, dependencies: [first]}
  - {name: b, handler: {callable: quick}, dependencies: [a]}
  - {name: c, handler: {callable: quick}, dependencies: [b]}
"""


@step_handler("quick")
async def quick() -> int:
    return 1


async def entries(database: Database) -> list[dict[str, Any]]:
    return [dict(row) for row in await database.fetch("select * from tasker.dead_letters order by dlq_timestamp")]


async def later(dsn: str, **ahead: float) -> Database:
    """The same database as it will be: connections that see the time so much later."""
    database = Database(dsn, pool_size=1)
    await database.open()
    await database.fetch("select set_config('tasker.now', (now() + $1::interval)::text, false)", timedelta(**ahead))
    return database


async def sweep(dsn: str, options: SweepOptions | None = None, **ahead: float) -> Sweeper:
    database = await later(dsn, **ahead)
    try:
        sweeper = Sweeper(database, options or SweepOptions(retention_pause_seconds=0))
        await sweeper.sweep()
        return sweeper
    finally:
        await database.close()


async def test_a_task_ends_within_a_second_of_its_deadline_and_its_handler_is_told(dsn):
    stopped = asyncio.Event()

    @step_handler("hang")
    async def hang() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            stopped.set()
            raise

    template = chain("slow", "hang", "quick") + "\nlifecycle: {max_duration_seconds: 1}"
    async with running_host(dsn, plugin([hang, quick], [template]), worker__lease_seconds=1) as host:
        began = time.monotonic()
        task = await submit(host, "slow")
        (row,) = await ended(host, task)
        assert 1 <= time.monotonic() - began < 2
        assert row["status"] == "error"
        assert [step["current_state"] for step in row["steps"]] == ["cancelled", "cancelled"]
        assert (row["error"]["reason"], row["error"]["actor"]) == ("max_duration", "sweep")
        assert "ran longer than its template allows" in row["error"]["message"]
        assert row["deadline_at"] == row["created_at"] + timedelta(seconds=1)
        await asyncio.wait_for(stopped.wait(), 10)
        assert host.sweeper.counts.past_deadline == 1


async def test_steps_that_wait_for_each_other_are_found_and_named(dsn):
    async with running_host(dsn, plugin([quick], [RING]), worker=False) as host:
        task = await submit(host, "ring")
        # Somebody damages the rows: a waits for c too.
        await host.database.fetch(
            "update tasker.steps a set parents = a.parents || c.step_uuid, waits_on = 2"
            " from tasker.steps c where a.name = 'a' and c.name = 'c'"
        )
    async with running_host(dsn, plugin([quick], [RING])) as host:
        while await host.database.fetchval("select state <> 'waiting_for_dependencies' from tasker.tasks"):
            await asyncio.sleep(0)
    sweeper = await sweep(dsn, minutes=2)
    assert sweeper.counts.stale == 1
    database = await later(dsn)
    (entry,) = await entries(database)
    assert (entry["task_uuid"], entry["dlq_reason"]) == (task, "dependency_cycle_detected")
    assert json.loads(entry["metadata"]) == {"cycles": [["a", "b", "c", "a"]]}
    assert await database.fetchval("select state from tasker.tasks") == "error"
    await database.close()


async def test_a_sweep_files_what_used_up_its_attempts(dsn):
    @step_handler("fails")
    async def fails() -> None:
        raise RuntimeError("no")

    made = plugin([fails], [chain("failing", "fails", max_attempts=2, backoff_base_ms=1)])
    async with running_host(dsn, made) as host:
        row = await run_to_end(host, "failing")
        assert row["status"] == "blocked_by_failures"
        await host.sweeper.sweep()
        (entry,) = await entries(host.database)
        assert (entry["task_uuid"], entry["dlq_reason"]) == (row["task_uuid"], "max_retries_exceeded")
        assert host.sweeper.counts.dead_letters == 1
        (step,) = json.loads(entry["task_snapshot"])["steps"]
        assert (step["attempts"], step["error"]["message"]) == (2, "no")


async def test_a_stale_task_is_swept_and_whoever_waits_for_it_is_told(dsn):
    async with running_host(dsn, plugin([quick], [chain("one", "quick")]), worker=False) as host:
        task = await submit(host, "one")
        sweeper = await sweep(dsn, SweepOptions(thresholds=Thresholds(dead_letters=True)), days=1)
        assert (sweeper.counts.stale, sweeper.counts.dead_letters) == (1, 1)
        (entry,) = await entries(host.database)
        # No worker lives here, so the task itself is left to wait for one.
        assert (entry["task_uuid"], entry["dlq_reason"]) == (task, "worker_unavailable")


async def test_more_than_one_batch_is_swept_at_once(dsn):
    async with running_host(dsn, plugin([quick], [chain("one", "quick")]), worker=False) as host:
        for number in range(7):
            await submit(host, "one", {"n": number})
        sweeper = await sweep(dsn, SweepOptions(batch_size=2), days=1)
        assert sweeper.counts.stale == 7


async def test_a_dry_run_writes_no_entry_and_ends(dsn):
    async with running_host(dsn, plugin([quick], [chain("one", "quick")]), worker=False) as host:
        await submit(host, "one")
        sweeper = await sweep(dsn, SweepOptions(dry_run=True), days=1)
        assert sweeper.counts.stale == 1
        assert await entries(host.database) == []


@pytest.mark.parametrize(
    ("policy", "of", "left"),
    [
        (Policy(timedelta(days=7), None), {}, {"tests": 0, "others": 0}),
        (Policy(None, 2), {}, {"tests": 2, "others": 2}),
        (Policy(None, 2), {"others": Policy(None, 1)}, {"tests": 2, "others": 1}),
        (Policy(None, None), {"others": Policy(None, 1)}, {"tests": 3, "others": 1}),
        (Policy(timedelta(days=9), None), {}, {"tests": 3, "others": 3}),
    ],
)
async def test_retention_goes_by_namespace(dsn, policy, of, left):
    other = chain("one", "quick").replace("namespace_name: tests", "namespace_name: others")
    async with running_host(dsn, plugin([quick], [chain("one", "quick"), other])) as host:
        for namespace in ("tests", "others"):
            for number in range(3):
                await run_to_end(host, "one", {"n": number}, namespace=namespace)
        options = SweepOptions(
            retention=True, retention_default=policy, retention_of=of, retention_batch=2, retention_pause_seconds=0
        )
        await sweep(dsn, options, days=8)
        rows = await host.database.fetch("select namespace, count(*) from tasker.tasks group by namespace")
        assert {**dict.fromkeys(left, 0), **dict(tuple(row) for row in rows)} == left


def test_the_configuration_says_what_is_done(dsn):
    settings = configured(
        dsn,
        sweep__interval_seconds=5.0,
        sweep__staleness__task_max_lifetime_hours=2,
        sweep__dead_letters__enabled=False,
        retention__max_age_days=30.0,
        retention__namespaces={"reports": {"max_count": 10, "max_age_days": 0.0, "action": "archive"}},
    ).settings
    options = sweep_options(settings)
    assert (options.interval_seconds, options.retention, options.dry_run) == (5.0, False, False)
    assert (options.thresholds.lifetime, options.thresholds.dead_letters) == (120, False)
    assert options.policy("any") == Policy(timedelta(days=30), None, archive=False)
    assert options.policy("reports") == Policy(None, 10, archive=True)


async def test_of_many_hosts_one_takes_each_turn(dsn):
    made = plugin([quick], [chain("one", "quick")])
    async with (
        running_host(dsn, made, sweep__interval_seconds=3600.0) as first,
        running_host(dsn, made, sweep__interval_seconds=3600.0) as second,
    ):
        for host in (first, second, first):
            await host.sweeper._take_turn()
        assert (first.sweeper.counts.sweeps, second.sweeper.counts.sweeps) == (1, 0)


async def test_hosts_sweep_by_themselves(dsn):
    async with running_host(dsn, plugin([quick], [chain("one", "quick")]), sweep__interval_seconds=0.1) as host:
        task: UUID = (await run_to_end(host, "one"))["task_uuid"]
        assert task
        while host.sweeper.counts.sweeps < 2:
            await asyncio.sleep(0)
