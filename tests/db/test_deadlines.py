"""A task may not take longer than its template says."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.db.conftest import Kernel, done
from tests.db.test_sweep import MINUTE, NOW, entries, submitted, template

SECOND = timedelta(seconds=1)


async def enforce(kernel: Kernel) -> tuple[list[Any], datetime | None]:
    row = await kernel.connection.fetchrow("select * from tasker.deadlines_enforce(100)")
    return row["ended"], row["next_at"]


@pytest.mark.parametrize("lifecycle", [{"max_duration_minutes": 2}, {"max_duration_seconds": 120}])
async def test_a_task_past_its_deadline_ends_in_error(kernel, lifecycle):
    await kernel.clock(NOW)
    task = await submitted(kernel, await template(kernel, {"a": [], "b": ["a"], "c": [], "d": ["c"]}, **lifecycle))
    a, c = sorted((await kernel.claim()).steps, key=lambda step: step.name)
    await kernel.finish(done(c))
    assert await enforce(kernel) == ([], NOW + MINUTE * 2)
    await kernel.clock(NOW + MINUTE * 2 - SECOND)
    assert (await enforce(kernel))[0] == []
    await kernel.clock(NOW + MINUTE * 2)
    assert (await enforce(kernel))[0] == [task]
    assert await kernel.state(task) == "error"
    assert await kernel.steps(task) == {"a": "cancelled", "b": "cancelled", "c": "complete", "d": "cancelled"}
    assert await kernel.messages() == 0
    last = await kernel.connection.fetchrow(
        "select to_state, actor, reason from tasker.task_history where task_uuid = $1 order by at desc limit 1", task
    )
    assert tuple(last) == ("error", "sweep", "max_duration")
    # The handler that still ran is told so, and its result changes nothing.
    assert await kernel.renew(a) == [a.step_uuid]
    assert (await kernel.finish(done(a))).superseded == [a.step_uuid]
    assert await kernel.state(task) == "error"
    assert await entries(kernel) == []
    assert await kernel.connection.fetchval("select count(*) from tasker.deadlines") == 0


async def test_the_time_counts_from_the_start_that_was_asked_for(kernel):
    await kernel.clock(NOW)
    start = NOW + timedelta(hours=5)
    task = await submitted(kernel, await template(kernel, max_duration_seconds=10), start_at=start)
    deadline = await kernel.connection.fetchval("select deadline_at from tasker.tasks where task_uuid = $1", task)
    assert deadline == start + SECOND * 10
    await kernel.clock(start)
    assert (await enforce(kernel))[0] == []
    await kernel.clock(start + SECOND * 10)
    assert (await enforce(kernel))[0] == [task]


async def test_a_task_that_ended_in_time_keeps_its_end(kernel):
    await kernel.clock(NOW)
    task = await submitted(kernel, await template(kernel, {"a": []}, max_duration_seconds=10))
    await kernel.finish(*map(done, (await kernel.claim()).steps))
    await kernel.clock(NOW + MINUTE)
    assert await enforce(kernel) == ([], NOW + MINUTE + SECOND * 10)
    assert await kernel.state(task) == "complete"


async def test_the_next_look_is_before_any_deadline_that_may_be_set_meanwhile(kernel):
    await kernel.clock(NOW)
    assert await enforce(kernel) == ([], None)
    await template(kernel)
    assert await enforce(kernel) == ([], None)
    await template(kernel, max_duration_minutes=10)
    quick = await template(kernel, max_duration_seconds=5)
    assert await enforce(kernel) == ([], NOW + SECOND * 5)
    await submitted(kernel, quick)
    await kernel.clock(NOW + SECOND * 3)
    assert await enforce(kernel) == ([], NOW + SECOND * 5)


@pytest.mark.parametrize(
    ("lifecycle", "state", "filed"),
    [
        ({"auto_fail_on_timeout": False}, "steps_in_process", []),
        ({"auto_fail_on_timeout": True}, "error", []),
        ({"auto_dlq_on_timeout": True}, "error", [{"cause": "max_duration"}]),
        ({"auto_dlq_on_timeout": True, "auto_fail_on_timeout": False}, "steps_in_process", [{"cause": "max_duration"}]),
    ],
)
async def test_the_template_may_want_a_dead_letter_or_no_end(kernel, lifecycle, state, filed):
    await kernel.clock(NOW)
    task = await submitted(kernel, await template(kernel, max_duration_seconds=10, **lifecycle))
    await kernel.clock(NOW + SECOND * 10)
    await enforce(kernel)
    assert await kernel.state(task) == state
    assert [json.loads(entry["metadata"]) for entry in await entries(kernel)] == filed


async def test_a_task_that_goes_on_after_its_deadline_gets_the_whole_time_again(kernel):
    await kernel.clock(NOW)
    task = await submitted(kernel, await template(kernel, max_duration_seconds=10))
    await kernel.clock(NOW + SECOND * 10)
    assert (await enforce(kernel))[0] == [task]
    await kernel.clock(NOW + MINUTE)
    await kernel.connection.fetch(
        "select * from tasker.tasks_operate('rerun', array[$1::uuid], 'ann', 'again', '{}')", task
    )
    assert await kernel.state(task) == "steps_in_process"
    assert (await enforce(kernel)) == ([], NOW + MINUTE + SECOND * 10)
    await kernel.clock(NOW + MINUTE + SECOND * 10)
    assert (await enforce(kernel))[0] == [task]


async def test_a_host_that_meets_another_at_the_deadlines_looks_again_soon(kernel, new_kernel):
    other = await new_kernel()
    await other.clock(NOW)
    async with kernel.connection.transaction():
        await kernel.clock(NOW)
        await enforce(kernel)
        assert await enforce(other) == ([], NOW + timedelta(milliseconds=200))
