"""What stopped moving, what ran too long, what failed for good: found without reading history, and filed."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from tasker_host.db.sqlfiles import query
from tests.db.conftest import Kernel, done, failed, released
from tests.db.test_cost import FILL, pages

NOW = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)
"""Ahead of the uuids that the tests make, so that none of them is too new to be looked at."""

MINUTE = timedelta(minutes=1)
CHAIN = {"a": [], "b": ["a"]}


async def template(
    kernel: Kernel, dag: dict[str, list[str]] = CHAIN, *, steps: dict[str, Any] | None = None, **lifecycle: Any
) -> int:
    """A template with this lifecycle; `steps` are more keys of its steps."""
    names = list(dag)
    content = {
        "lifecycle": lifecycle,
        "steps": [{"name": name, **(steps or {}).get(name, {})} for name in names],
    }
    shape = [
        {
            "position": names.index(name) + 1,
            "name": name,
            "parents": [names.index(parent) + 1 for parent in parents],
            "children": [names.index(child) + 1 for child in names if name in dag[child]],
            "reads": [],
            "max_attempts": 2,
        }
        for name, parents in dag.items()
    ]
    return await kernel.connection.fetchval(
        "select tasker.template_register('tests', 't', '1.0.0', $1, $2, $3)",
        uuid4().hex * 2,
        json.dumps(content),
        json.dumps(shape),
    )


async def submitted(kernel: Kernel, template: int, **more: Any) -> UUID:
    (task,), _ = await kernel.submit(template, **more)
    return task


async def sweep(
    kernel: Kernel, *, dry_run: bool = False, served: bool | None = True, limit: int = 100, **thresholds: Any
) -> list[dict[str, Any]]:
    await kernel.connection.fetchval("select tasker.tasks_walk('near', '0', 1000)")
    rows = await kernel.connection.fetch(
        "select * from tasker.tasks_sweep($1, $2, $3, $4)", dry_run, limit, json.dumps(thresholds), served
    )
    return [dict(row) for row in rows]


async def entries(kernel: Kernel) -> list[dict[str, Any]]:
    rows = await kernel.connection.fetch("select * from tasker.dead_letters order by dlq_timestamp, dlq_entry_uuid")
    return [dict(row) for row in rows]


async def waiting_for_dependencies(kernel: Kernel, template: int) -> UUID:
    """A task whose counts were damaged: its second step waits for a parent that is complete."""
    task = await submitted(kernel, template)
    await kernel.connection.execute("update tasker.steps set waits_on = 2 where task_uuid = $1 and name = 'b'", task)
    (step,) = (await kernel.claim()).steps
    await kernel.finish(done(step))
    assert await kernel.state(task) == "waiting_for_dependencies"
    return task


async def waiting_for_retry(kernel: Kernel, template: int, after: timedelta = timedelta(seconds=1)) -> UUID:
    task = await submitted(kernel, template)
    (step,) = (await kernel.claim()).steps
    await kernel.finish(failed(step, retry_after=after))
    assert await kernel.state(task) == "waiting_for_retry"
    return task


async def in_process(kernel: Kernel, template: int) -> UUID:
    task = await submitted(kernel, template)
    assert len((await kernel.claim()).steps) == 1
    return task


MAKE = {
    "waiting_for_dependencies": waiting_for_dependencies,
    "waiting_for_retry": waiting_for_retry,
    "steps_in_process": in_process,
}


@pytest.mark.parametrize(
    ("state", "minutes", "lifecycle", "stale"),
    [
        ("waiting_for_dependencies", 59, {}, False),
        ("waiting_for_dependencies", 60, {}, True),
        ("waiting_for_retry", 29, {}, False),
        ("waiting_for_retry", 30, {}, True),
        ("steps_in_process", 29, {}, False),
        ("steps_in_process", 30, {}, True),
        ("waiting_for_dependencies", 61, {"max_waiting_for_dependencies_minutes": 120}, False),
        ("waiting_for_dependencies", 120, {"max_waiting_for_dependencies_minutes": 120}, True),
        ("waiting_for_retry", 2, {"max_waiting_for_retry_minutes": 2}, True),
        ("steps_in_process", 2, {"max_steps_in_process_minutes": 2}, True),
        ("steps_in_process", 1, {"max_steps_in_process_minutes": 2}, False),
    ],
)
async def test_a_task_is_stale_from_its_threshold_on(kernel, state, minutes, lifecycle, stale):
    await kernel.clock(NOW)
    task = await MAKE[state](kernel, await template(kernel, **lifecycle))
    assert await sweep(kernel) == []
    await kernel.clock(NOW + MINUTE * minutes - timedelta(seconds=1))
    assert await sweep(kernel) == []
    await kernel.clock(NOW + MINUTE * minutes)
    found = await sweep(kernel)
    assert [row["task_uuid"] for row in found] == ([task] if stale else [])
    assert await kernel.state(task) == ("error" if stale else state)


async def test_a_dry_run_tells_what_it_would_do_and_does_nothing(kernel):
    await kernel.clock(NOW)
    task = await waiting_for_dependencies(kernel, await template(kernel))
    await kernel.clock(NOW + MINUTE * 90)
    for _ in range(2):
        assert await sweep(kernel, dry_run=True) == [
            {
                "task_uuid": task, "namespace": "tests", "task_name": "t", "current_state": "waiting_for_dependencies",
                "time_in_state_minutes": 90, "threshold_minutes": 60, "reason": "staleness_timeout",
                "action_taken": "would_transition_to_dlq_and_error", "moved_to_dlq": False, "transition_success": False,
            }
        ]  # fmt: skip
    assert await entries(kernel) == []
    assert await kernel.state(task) == "waiting_for_dependencies"
    assert [row["action_taken"] for row in await sweep(kernel)] == ["transitioned_to_dlq_and_error"]


async def test_a_stale_task_ends_in_error_and_is_filed_once(kernel):
    await kernel.clock(NOW)
    task = await in_process(kernel, await template(kernel))
    await kernel.clock(NOW + MINUTE * 30)
    (row,) = await sweep(kernel)
    assert (row["action_taken"], row["moved_to_dlq"], row["transition_success"]) == (
        "transitioned_to_dlq_and_error", True, True,
    )  # fmt: skip
    (entry,) = await entries(kernel)
    assert (entry["task_uuid"], entry["dlq_reason"], entry["original_state"], entry["resolution_status"]) == (
        task, "staleness_timeout", "steps_in_process", "pending",
    )  # fmt: skip
    assert await kernel.steps(task) == {"a": "cancelled", "b": "cancelled"}
    assert await kernel.messages() == 0
    history = await kernel.connection.fetch(
        "select to_state, actor, reason from tasker.task_history where task_uuid = $1 order by at", task
    )
    assert tuple(history[-1]) == ("error", "sweep", "staleness_timeout")
    assert await sweep(kernel) == []
    await kernel.connection.fetch("select * from tasker.failures_file(100, true)")
    assert len(await entries(kernel)) == 1
    assert await kernel.connection.fetchval("select count(*) from tasker.watches") == 0


@pytest.mark.parametrize(
    ("lifecycle", "action", "state", "filed"),
    [
        ({"staleness_action": "dlq"}, "transitioned_to_dlq_and_error", "error", 1),
        ({"staleness_action": "error"}, "transitioned_to_error_only", "error", 0),
        ({"staleness_action": "none"}, None, "steps_in_process", 0),
        ({"auto_fail_on_timeout": False}, "moved_to_dlq_only", "steps_in_process", 1),
        ({"auto_dlq_on_timeout": False}, "transitioned_to_error_only", "error", 0),
        ({"staleness_action": "none", "auto_dlq_on_timeout": True}, "moved_to_dlq_only", "steps_in_process", 1),
        ({"staleness_action": "error", "auto_dlq_on_timeout": True}, "transitioned_to_dlq_and_error", "error", 1),
    ],
)
async def test_the_template_says_what_is_done_with_a_stale_task(kernel, lifecycle, action, state, filed):
    await kernel.clock(NOW)
    task = await in_process(kernel, await template(kernel, **lifecycle))
    await kernel.clock(NOW + MINUTE * 30)
    assert [row["action_taken"] for row in await sweep(kernel)] == ([action] if action else [])
    assert await sweep(kernel) == []
    assert await kernel.state(task) == state
    assert len(await entries(kernel)) == filed


async def test_thresholds_and_what_is_done_come_from_the_host_where_the_template_does_not_say(kernel):
    await kernel.clock(NOW)
    first = await waiting_for_retry(kernel, await template(kernel))
    await kernel.clock(NOW + MINUTE * 5)
    (row,) = await sweep(kernel, waiting_for_retry=5, dead_letters=False)
    assert (row["task_uuid"], row["action_taken"]) == (first, "transitioned_to_error_only")
    second = await waiting_for_retry(kernel, await template(kernel))
    await kernel.clock(NOW + MINUTE * 10)
    (row,) = await sweep(kernel, waiting_for_retry=5, fail=False)
    assert (row["task_uuid"], row["action_taken"]) == (second, "moved_to_dlq_only")


async def test_what_waits_for_a_known_time_is_not_stale(kernel):
    await kernel.clock(NOW)
    retried = await waiting_for_retry(kernel, await template(kernel), after=timedelta(hours=3))
    started = await submitted(kernel, await template(kernel, {"a": []}), start_at=NOW + timedelta(days=3))
    paused = await submitted(kernel, await template(kernel))
    await kernel.connection.execute("update tasker.tasks set state = 'paused' where task_uuid = $1", paused)
    await kernel.clock(NOW + timedelta(hours=3))
    assert await sweep(kernel) == []
    # A retry that nobody began half a threshold after it was due has stopped.
    await kernel.clock(NOW + timedelta(hours=3, minutes=15))
    assert [row["task_uuid"] for row in await sweep(kernel)] == [retried]
    await kernel.clock(NOW + timedelta(days=3, minutes=10))
    assert await sweep(kernel, served=True) == []
    # Its lifetime begins with its start.
    await kernel.clock(NOW + timedelta(days=4))
    assert [row["task_uuid"] for row in await sweep(kernel)] == [started]
    assert await kernel.state(paused) == "paused"


async def test_a_running_step_has_the_time_that_its_template_gives_it(kernel):
    await kernel.clock(NOW)
    task = await in_process(kernel, await template(kernel, steps={"a": {"timeout_seconds": 7200}}))
    await kernel.clock(NOW + timedelta(hours=2))
    assert await sweep(kernel) == []
    await kernel.clock(NOW + timedelta(hours=2, minutes=15))
    assert [row["task_uuid"] for row in await sweep(kernel)] == [task]


async def test_a_task_whose_steps_end_one_after_the_other_moves(kernel):
    await kernel.clock(NOW)
    task = await in_process(kernel, await template(kernel))
    held = await kernel.connection.fetchrow("select step_uuid from tasker.steps where name = 'a'")
    await sweep(kernel)
    await kernel.clock(NOW + MINUTE * 25)
    await kernel.connection.execute(
        "update tasker.steps set state_since = $1 where step_uuid = $2", NOW + MINUTE * 25, held["step_uuid"]
    )
    await kernel.clock(NOW + MINUTE * 54)
    assert await sweep(kernel) == []
    await kernel.clock(NOW + MINUTE * 55)
    assert [row["task_uuid"] for row in await sweep(kernel)] == [task]


async def test_a_task_that_is_only_queued_waits_its_turn_but_not_longer_than_its_lifetime(kernel):
    await kernel.clock(NOW)
    task = await submitted(kernel, await template(kernel))
    await kernel.clock(NOW + timedelta(hours=24) - MINUTE)
    assert await sweep(kernel) == []
    await kernel.clock(NOW + timedelta(hours=24))
    (row,) = await sweep(kernel)
    assert (row["task_uuid"], row["reason"], row["transition_success"]) == (task, "staleness_timeout", True)


@pytest.mark.parametrize(("lifetime", "minutes", "found"), [(60, 59, 0), (60, 60, 1), (30, 30, 1)])
async def test_the_longest_lifetime_is_configured(kernel, lifetime, minutes, found):
    await kernel.clock(NOW)
    await waiting_for_dependencies(kernel, await template(kernel, max_waiting_for_dependencies_minutes=10_000))
    await sweep(kernel, lifetime=lifetime)
    await kernel.clock(NOW + MINUTE * minutes)
    assert len(await sweep(kernel, lifetime=lifetime)) == found


async def test_queued_steps_that_no_worker_takes_are_filed_and_go_on_when_one_comes(kernel):
    await kernel.clock(NOW)
    task = await submitted(kernel, await template(kernel))
    await kernel.clock(NOW + MINUTE * 29)
    assert await sweep(kernel, served=None) == []
    await kernel.clock(NOW + MINUTE * 30)
    (row,) = await sweep(kernel, served=None)
    assert (row["reason"], row["action_taken"]) == ("worker_unavailable", "moved_to_dlq_only")
    assert [entry["dlq_reason"] for entry in await entries(kernel)] == ["worker_unavailable"]
    assert await sweep(kernel, served=None) == []
    (step,) = (await kernel.claim()).steps
    (step,) = (await kernel.finish(done(step), want=1)).steps
    await kernel.finish(done(step))
    assert await kernel.state(task) == "complete"


async def test_a_step_that_workers_only_give_back_has_no_worker(kernel):
    await kernel.clock(NOW)
    task = await submitted(kernel, await template(kernel))
    for minute in (1, 15, 29):
        await kernel.clock(NOW + MINUTE * minute)
        (step,) = (await kernel.claim()).steps
        await kernel.finish(released(step))
    await kernel.clock(NOW + MINUTE * 30)
    (row,) = await sweep(kernel, served=True)
    assert (row["task_uuid"], row["reason"]) == (task, "worker_unavailable")


async def file_failures(kernel: Kernel) -> list[tuple[UUID, str]]:
    rows = await kernel.connection.fetch(
        "select task_uuid, dlq_reason from tasker.failures_file(100, true) where dlq_entry_uuid is not null"
    )
    return [tuple(row) for row in rows]


async def test_a_step_that_used_up_its_attempts_is_filed(kernel):
    await kernel.clock(NOW)
    task = await submitted(kernel, await template(kernel, {"a": [], "b": ["a"], "c": []}))
    steps = {step.name: step for step in (await kernel.claim()).steps}
    await kernel.finish(failed(steps["a"], retry_after=timedelta(seconds=1)), done(steps["c"]))
    assert await file_failures(kernel) == []
    await kernel.clock(NOW + MINUTE)
    (step,) = (await kernel.claim()).steps
    await kernel.finish(failed(step))
    assert await file_failures(kernel) == [(task, "max_retries_exceeded")]
    assert await file_failures(kernel) == []
    (entry,) = await entries(kernel)
    snapshot = json.loads(entry["task_snapshot"])
    assert {key: snapshot[key] for key in ("task_uuid", "namespace", "task_name", "current_state", "steps_total")} == {
        "task_uuid": str(task), "namespace": "tests", "task_name": "t", "current_state": "blocked_by_failures",
        "steps_total": 3,
    }  # fmt: skip
    assert [(s["name"], s["state"], s["attempts"], s["error"]) for s in snapshot["steps"]] == [
        ("a", "error", 2, {"message": "no"}), ("b", "pending", 0, None), ("c", "complete", 1, None),
    ]  # fmt: skip
    # The second attempt: its step and its task began and ended in the same instant.
    assert sorted(event["to"] for event in snapshot["history"][-4:]) == [
        "blocked_by_failures", "error", "in_progress", "steps_in_process",
    ]  # fmt: skip
    assert snapshot["context"] == {}


async def test_a_step_that_failed_for_good_at_once_is_not_filed(kernel):
    task = await submitted(kernel, await template(kernel))
    (step,) = (await kernel.claim()).steps
    error = json.dumps({"error_type": "permanent_error", "message": "no", "retryable": False, "will_retry": False})
    await kernel.finish(failed(step)._replace(value=error))
    assert await kernel.state(task) == "blocked_by_failures"
    assert await file_failures(kernel) == []


async def test_a_step_that_lost_its_worker_for_the_last_time_is_filed(kernel):
    await kernel.clock(NOW)
    task = await submitted(kernel, await template(kernel))
    for minute in range(2):
        await kernel.clock(NOW + MINUTE * minute)
        assert len((await kernel.claim()).steps) == 1
    await kernel.clock(NOW + MINUTE * 2)
    assert (await kernel.claim()).steps == []
    assert await file_failures(kernel) == [(task, "worker_unavailable")]


async def test_a_blocked_task_with_a_pending_investigation_is_left_alone_until_that_is_closed(kernel):
    await kernel.clock(NOW)
    task = await submitted(kernel, await template(kernel))
    (step,) = (await kernel.claim()).steps
    await kernel.finish(failed(step._replace(attempt=1)))
    await kernel.connection.fetchval(
        "select count(*) from tasker.dead_letters_file(array[$1::uuid], array['manual_dlq'], null)", task
    )
    await kernel.clock(NOW + timedelta(days=3))
    assert await sweep(kernel) == []
    (entry,) = await entries(kernel)
    closed = "select tasker.dead_letter_update($1, $2, 'looked', 'ann', null)"
    assert await kernel.connection.fetchval(closed, entry["dlq_entry_uuid"], "permanently_failed")
    (row,) = await sweep(kernel)
    assert (row["task_uuid"], row["current_state"], row["threshold_minutes"]) == (task, "blocked_by_failures", 1440)
    assert await kernel.connection.fetchval(closed, entry["dlq_entry_uuid"], "cancelled") is None
    assert [entry["resolution_status"] for entry in await entries(kernel)] == ["permanently_failed", "pending"]


async def test_a_task_has_one_pending_entry(kernel):
    task = await submitted(kernel, await template(kernel))
    file = "select count(*) from tasker.dead_letters_file(array[$1::uuid], array['manual_dlq'], null)"
    assert [await kernel.connection.fetchval(file, task) for _ in range(2)] == [1, 0]


async def test_two_sweeps_at_once_do_it_once(kernel, new_kernel):
    await kernel.clock(NOW)
    task = await in_process(kernel, await template(kernel))
    other = await new_kernel()
    for one in (kernel, other):
        await one.clock(NOW + MINUTE * 30)
    async with kernel.connection.transaction():
        assert [row["task_uuid"] for row in await sweep(kernel)] == [task]
        assert await sweep(other) == []
    assert await sweep(other) == []
    assert len(await entries(kernel)) == 1


async def test_a_task_that_somebody_moves_at_the_moment_is_not_waited_for(kernel, new_kernel):
    await kernel.clock(NOW)
    task = await in_process(kernel, await template(kernel))
    other = await new_kernel()
    await kernel.clock(NOW + MINUTE * 30)
    async with other.connection.transaction():
        await other.connection.execute("select from tasker.tasks where task_uuid = $1 for no key update", task)
        assert await sweep(kernel) == []
    await kernel.clock(NOW + MINUTE * 30 + timedelta(seconds=1))
    assert [row["task_uuid"] for row in await sweep(kernel)] == [task]


async def test_more_than_one_batch_is_found_oldest_first(kernel):
    await kernel.clock(NOW)
    one = await template(kernel, {"a": []})
    made = [await in_process(kernel, one) for _ in range(5)]
    await kernel.clock(NOW + MINUTE * 30)
    found = [[row["task_uuid"] for row in await sweep(kernel, limit=2)] for _ in range(4)]
    assert [len(batch) for batch in found] == [2, 2, 1, 0]
    assert {task for batch in found for task in batch} == set(made)


async def test_a_task_committed_long_after_its_uuid_was_made_is_found_by_the_second_walk(kernel):
    await kernel.clock(NOW)
    one = await template(kernel, {"a": []})
    await in_process(kernel, one)
    await sweep(kernel)
    late = await in_process(kernel, one)
    await kernel.connection.execute(
        "update tasker.walks set position = 'ffffffff-0000-7000-8000-000000000000' where name = 'near'"
    )
    await kernel.clock(NOW + timedelta(days=1))
    assert late not in [row["task_uuid"] for row in await sweep(kernel)]
    await kernel.connection.fetchval("select tasker.tasks_walk('far', '1 hour', 1000)")
    assert [row["task_uuid"] for row in await sweep(kernel)] == [late]


async def test_a_task_that_goes_on_after_its_end_is_watched_again(kernel):
    await kernel.clock(NOW)
    task = await in_process(kernel, await template(kernel, {"a": []}))
    await kernel.connection.execute("update tasker.tasks set state = 'error' where task_uuid = $1", task)
    await sweep(kernel)
    assert await kernel.connection.fetchval("select count(*) from tasker.watches") == 0
    await kernel.connection.execute("update tasker.tasks set state = 'steps_in_process' where task_uuid = $1", task)
    await kernel.clock(NOW + MINUTE * 30)
    assert [row["task_uuid"] for row in await sweep(kernel)] == [task]


@pytest.mark.parametrize(
    ("state", "minutes", "health"),
    [
        ("waiting_for_dependencies", 47, "healthy"),
        ("waiting_for_dependencies", 48, "warning"),
        ("waiting_for_dependencies", 59, "warning"),
        ("waiting_for_dependencies", 60, "stale"),
        ("waiting_for_retry", 23, "healthy"),
        ("waiting_for_retry", 24, "warning"),
        ("steps_in_process", 30, "stale"),
    ],
)
async def test_how_near_a_task_is_to_being_stale_is_shown(kernel, state, minutes, health):
    await kernel.clock(NOW)
    task = await MAKE[state](kernel, await template(kernel))
    await kernel.connection.fetchval("select tasker.tasks_walk('near', '0', 1000)")
    await kernel.clock(NOW + MINUTE * minutes)
    (row,) = await kernel.connection.fetch(query("tasks_staleness"), "{}", 10)
    assert (row["task_uuid"], row["health_status"], row["time_in_state_minutes"]) == (task, health, minutes)


async def test_the_tasks_nearest_to_being_stale_come_first(kernel):
    await kernel.clock(NOW)
    one = await template(kernel)
    await waiting_for_dependencies(kernel, one)
    await waiting_for_retry(kernel, one, after=timedelta(days=1))
    await waiting_for_retry(kernel, one)
    await kernel.connection.fetchval("select tasker.tasks_walk('near', '0', 1000)")
    await kernel.clock(NOW + MINUTE * 50)
    rows = await kernel.connection.fetch(query("tasks_staleness"), "{}", 10)
    assert [row["health_status"] for row in rows] == ["stale", "warning", "healthy"]
    assert len(await kernel.connection.fetch(query("tasks_staleness"), "{}", 2)) == 2


async def test_a_sweep_reads_no_more_where_50000_tasks_are_done(kernel):
    await kernel.clock(NOW)
    await waiting_for_retry(kernel, await template(kernel))
    await sweep(kernel)

    async def measured() -> list[int]:
        await kernel.connection.execute("update tasker.watches set look_at = $1", NOW)
        calls = ("tasker.tasks_walk('near', '0', 1000)", "tasker.tasks_sweep(false, 100, '{}', true)")
        more = ("tasker.failures_file(100, true)", "tasker.deadlines_enforce(100)")
        return [await pages(kernel, call) for call in (*calls, *more)]

    for _ in range(2):  # the first one also reads what its plans are made of
        few = await measured()
    await kernel.connection.execute(FILL["done"], NOW, 50_000)
    while await kernel.connection.fetchval("select tasker.tasks_walk('near', '0', 5000)"):
        pass
    await kernel.connection.execute("vacuum analyze")
    for _ in range(2):
        many = await measured()
    # A level more of an index, for each of the few times that one is gone down.
    assert [after - before for before, after in zip(few, many, strict=True) if after > before + 8] == []


async def test_nothing_that_changes_with_a_step_is_indexed(kernel):
    """So that updates of tasks stay heap-only: an index on a state or a counter would be written with every step."""
    names = await kernel.connection.fetch(
        "select indexname from pg_indexes where schemaname = 'tasker' and tablename = 'tasks'"
    )
    assert {row[0] for row in names} == {"tasks_pkey", "tasks_identity"}
