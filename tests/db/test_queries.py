"""What the API and the command line read of tasks and steps."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from tasker_host.db.kernel import NewTask, tasks_submit
from tasker_host.db.queries import (
    TaskFilter,
    queue_depths,
    tasks_get,
    tasks_list,
    tasks_outcomes,
    tasks_unsettled,
    workers_connected,
)
from tasker_host.domain.ids import uuid7
from tests.db.conftest import AGING, Kernel, done, failed

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)
CHAIN = {"a": [], "b": ["a"]}
BIG = 63340286662973277706162286946811886609896461828096


async def made(kernel: Kernel, template: int, initiator: str = "me", source: str = "tests") -> UUID:
    task = uuid7()
    new = NewTask(task, template, '{"n": 1}', 0, None, '["x"]', task, None, initiator, source, "why", None)
    await tasks_submit(kernel.connection, [new], aging_interval=AGING)
    return task


async def test_a_task_is_shown_with_its_steps_in_order_and_values_as_they_were(kernel, database):
    await kernel.clock(NOW)
    task = await made(kernel, await kernel.template(CHAIN))
    (a,) = (await kernel.claim()).steps
    await kernel.clock(NOW + SECOND)
    (b,) = (await kernel.finish(done(a, {"big": BIG, "one": 1.0, "none": None}), want=1)).steps
    await kernel.finish(failed(b, retry_after=SECOND * 5))
    (row,) = await tasks_get(database, [task])
    steps = row.pop("steps")
    assert row == {
        "task_uuid": task, "namespace": "tests", "name": "t", "version": "1.0.0", "status": "waiting_for_retry",
        "state_since": NOW + SECOND, "created_at": NOW, "start_at": None, "completed_at": None, "priority": 0,
        "deadline_at": None, "error": None, "because": None, "on_failure": "block", "forgiven_steps": 0,
        "execution_status": "has_ready_steps", "recommended_action": "execute_ready_steps",
        "health_status": "recovering", "ready_steps": 1,
        "tags": ["x"], "context": {"n": 1}, "initiator": "me", "source_system": "tests", "reason": "why",
        "correlation_id": task, "parent_correlation_id": None, "total_steps": 2, "completed_steps": 1,
        "failed_steps": 0, "active_steps": 0, "retrying_steps": 1,
    }  # fmt: skip
    assert [step["name"] for step in steps] == ["a", "b"]
    assert steps[0]["result"] == {"big": BIG, "one": 1.0, "none": None}
    assert isinstance(steps[0]["result"]["one"], float)
    assert steps[1] == {
        "step_uuid": b.step_uuid, "name": "b", "current_state": "waiting_for_retry", "state_since": NOW + SECOND,
        "attempts": 1, "max_attempts": 3, "total_parents": 1, "dependencies": ["a"], "dependencies_satisfied": True,
        "completed_parents": 1, "retry_eligible": True, "ready_for_execution": True, "optional": False,
        "priority": None, "tags": ["x"], "waits_for_limit": None, "checkpoint": None,
        "worker": None, "next_retry_at": NOW + SECOND * 6, "took_ms": 1.0, "result": None, "error": {"message": "no"},
    }  # fmt: skip


async def test_tasks_are_shown_in_the_order_asked_without_those_that_do_not_exist(kernel, database):
    template = await kernel.template(CHAIN)
    first, second = [await made(kernel, template) for _ in range(2)]
    rows = await tasks_get(database, [second, uuid7(), first], with_steps=False)
    assert [row["task_uuid"] for row in rows] == [second, first]
    assert [row["steps"] for row in rows] == [[], []]
    assert await tasks_get(database, []) == []


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (TaskFilter(), [3, 2, 1, 0]),
        (TaskFilter(namespace="tests"), [2, 1, 0]),
        (TaskFilter(namespace="others"), [3]),
        (TaskFilter(name="t"), [3, 2, 1, 0]),
        (TaskFilter(name="T"), []),
        (TaskFilter(version="1.0.0"), [3, 2, 1, 0]),
        (TaskFilter(version="2"), []),
        (TaskFilter(states=["complete"]), [0]),
        (TaskFilter(states=["complete", "steps_in_process"]), [3, 2, 1, 0]),
        (TaskFilter(states=[]), []),
        (TaskFilter(initiator="you"), [1]),
        (TaskFilter(source_system="shop"), [2]),
        (TaskFilter(namespace="tests", initiator="me", source_system="tests"), [0]),
        (TaskFilter(initiator="%"), []),
    ],
    ids=repr,
)
async def test_tasks_are_listed_by_what_is_asked_of_them_newest_first(kernel, database, wanted, expected):
    one = await kernel.template({"a": []})
    tasks = [await made(kernel, one)]
    await kernel.finish(*map(done, (await kernel.claim()).steps))
    tasks += [await made(kernel, one, initiator="you"), await made(kernel, one, source="shop")]
    tasks.append(await made(kernel, await kernel.template(CHAIN, namespace="others")))
    rows, total = await tasks_list(database, wanted, limit=10, offset=0)
    assert [tasks.index(row["task_uuid"]) for row in rows] == expected
    assert total == len(expected)
    assert "context" not in (rows or [{}])[0]


@pytest.mark.parametrize(
    ("limit", "offset", "expected"), [(2, 0, [4, 3]), (2, 2, [2, 1]), (2, 4, [0]), (2, 6, []), (5, 0, [4, 3, 2, 1, 0])]
)
async def test_each_page_says_how_many_there_are_in_all(kernel, database, limit, offset, expected):
    template = await kernel.template(CHAIN)
    tasks = [await made(kernel, template) for _ in range(5)]
    rows, total = await tasks_list(database, TaskFilter(), limit=limit, offset=offset)
    assert [tasks.index(row["task_uuid"]) for row in rows] == expected
    assert total == 5


async def test_a_task_is_unsettled_until_it_ends_or_is_blocked(kernel, database):
    one = await kernel.template({"a": []})
    for _ in range(3):
        await made(kernel, one)
    good, bad, waiting = (await kernel.claim()).steps
    tasks = [good.task_uuid, bad.task_uuid, waiting.task_uuid]
    assert sorted(await tasks_unsettled(database, tasks)) == sorted(tasks)
    await kernel.finish(done(good), failed(bad), failed(waiting, retry_after=SECOND))
    assert await tasks_unsettled(database, [*tasks, uuid7()]) == [waiting.task_uuid]


async def test_outcomes_tell_how_long_a_task_took_and_which_step_failed_first(kernel, database):
    await kernel.clock(NOW)
    good = await made(kernel, await kernel.template({"a": []}))
    bad = await made(kernel, await kernel.template({"x": [], "y": []}))
    steps = {step.name: step for step in (await kernel.claim()).steps}
    await kernel.clock(NOW + SECOND)
    await kernel.finish(failed(steps["x"], retry_after=SECOND))
    await kernel.clock(NOW + 2 * SECOND)
    (again,) = (await kernel.claim()).steps
    await kernel.finish(done(steps["a"]), failed(again), failed(steps["y"]))
    rows = {row.pop("task_uuid"): row for row in await tasks_outcomes(database, [good, bad])}
    common = {"namespace": "tests", "name": "t", "context": {"n": 1}, "took_ms": 2000.0}
    assert rows == {
        good: common | {"state": "complete", "steps_done": 1, "attempts": 1, "failed_step": None, "error": None},
        bad: common
        | {
            "state": "blocked_by_failures",
            "steps_done": 0,
            "attempts": 3,
            "failed_step": "x",
            "error": {"message": "no"},
        },
    }


async def test_a_step_that_succeeds_at_last_still_tells_the_failure_before_it(kernel, database):
    await kernel.clock(NOW)
    task = await made(kernel, await kernel.template({"a": []}))
    (step,) = (await kernel.claim()).steps
    await kernel.finish(failed(step, retry_after=SECOND))
    await kernel.clock(NOW + SECOND)
    (step,) = (await kernel.claim()).steps
    await kernel.finish(done(step))
    (row,) = await tasks_get(database, [task])
    assert (row["steps"][0]["current_state"], row["steps"][0]["error"]) == ("complete", {"message": "no"})


async def test_depths_count_what_is_ready_and_what_waits_in_each_namespace(kernel, database):
    assert await queue_depths(database) == {}
    await kernel.template(CHAIN, namespace="idle")
    template = await kernel.template(CHAIN)
    await kernel.submit(template, 3)
    await kernel.submit(template, 2, start_at=datetime.now(UTC) + timedelta(hours=1))
    await kernel.claim(want=1)
    assert await queue_depths(database) == {"idle": (0, 0), "tests": (2, 3)}


async def test_workers_are_counted_by_their_connections(database):
    assert await workers_connected(database) == 0
    first, second = [await database.connect(role=f"worker w{number}") for number in range(2)]
    assert await workers_connected(database) == 2
    await first.close()
    await second.close()
