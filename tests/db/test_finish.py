"""Outcomes that come twice, come from nowhere, or come from the many; and what the history says of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tasker_host.domain.ids import uuid7
from tests.db.conftest import LEASE, done, failed, released

NOW = datetime(2026, 1, 1, tzinfo=UTC)
CHAIN = {"a": [], "b": ["a"], "c": ["b"]}
ONE = {"only": []}
SECOND = timedelta(seconds=1)


async def counters(kernel) -> tuple[int, ...]:
    return tuple(
        await kernel.connection.fetchrow(
            "select steps_total, steps_done, steps_active, steps_retrying, steps_failed from tasker.tasks"
        )
    )


@pytest.mark.parametrize("second", [done, failed, released], ids=lambda outcome: outcome.__name__)
async def test_of_two_outcomes_of_one_attempt_in_one_call_one_counts(kernel, second):
    await kernel.submit(await kernel.template(CHAIN))
    (step,) = (await kernel.claim()).steps
    answer = await kernel.finish(done(step), second(step), want=5)
    assert answer.superseded == [step.step_uuid]
    assert await counters(kernel) == (3, 1, 1, 0, 0)
    assert [taken.name for taken in answer.steps] == ["b"]
    assert await kernel.messages() == 1


async def test_an_earlier_attempt_in_the_same_call_is_superseded_and_the_current_one_counts(kernel):
    await kernel.clock(NOW)
    await kernel.submit(await kernel.template(CHAIN))
    (first,) = (await kernel.claim()).steps
    await kernel.clock(NOW + LEASE)
    (second,) = (await kernel.claim()).steps
    answer = await kernel.finish(done(first, "early"), done(second, "late"))
    assert answer.superseded == [first.step_uuid]
    assert await kernel.connection.fetchval("select result from tasker.steps where name = 'a'") == '"late"'


async def test_an_outcome_that_names_another_task_than_its_own_changes_nothing(kernel):
    template = await kernel.template(CHAIN)
    (task, other), _ = await kernel.submit(template, 2)
    steps = (await kernel.claim()).steps
    mine = next(step for step in steps if step.task_uuid == task)
    answer = await kernel.finish(done(mine)._replace(task_uuid=other))
    assert answer.superseded == [mine.step_uuid]
    assert (await kernel.steps(task))["a"] == "in_progress"


async def test_outcomes_of_steps_that_do_not_exist_hold_up_no_neighbour(kernel):
    await kernel.submit(await kernel.template(CHAIN))
    (step,) = (await kernel.claim()).steps
    nowhere = done(step)._replace(task_uuid=uuid7(), step_uuid=uuid7())
    answer = await kernel.finish(nowhere, done(step), want=1)
    assert answer.superseded == [nowhere.step_uuid]
    assert [taken.name for taken in answer.steps] == ["b"]


async def test_one_step_fans_out_to_500_and_back_to_one(kernel):
    middle = [f"m{number}" for number in range(500)]
    dag = {"first": []} | {name: ["first"] for name in middle} | {"last": middle}
    (task,), _ = await kernel.submit(await kernel.template(dag))
    (first,) = (await kernel.claim()).steps
    steps = (await kernel.finish(done(first), want=300)).steps
    assert len(steps) == 300
    rest = await kernel.finish(*map(done, steps), want=300)
    assert len(rest.steps) == 200
    *most, last_of_them = rest.steps
    assert (await kernel.finish(*map(done, most), want=5)).steps == []
    (last,) = (await kernel.finish(done(last_of_them), want=5)).steps
    assert (last.name, (last.values or "").count("1,") + 1) == ("last", 500)
    assert (await kernel.finish(done(last))).ended == [task]


async def test_a_join_waits_for_all_of_its_parents_also_when_one_had_to_be_retried(kernel):
    await kernel.clock(NOW)
    await kernel.submit(await kernel.template({"x": [], "y": [], "z": [], "end": ["x", "y", "z"]}))
    x, y, z = (await kernel.claim()).steps
    assert (await kernel.finish(done(x), failed(y, retry_after=SECOND), done(z), want=5)).steps == []
    await kernel.clock(NOW + SECOND)
    (again,) = (await kernel.claim()).steps
    assert [taken.name for taken in (await kernel.finish(done(again), want=5)).steps] == ["end"]


async def test_a_join_below_a_failure_never_runs(kernel):
    (task,), _ = await kernel.submit(await kernel.template({"x": [], "y": [], "end": ["x", "y"]}))
    x, y = sorted((await kernel.claim()).steps, key=lambda step: step.name)
    answer = await kernel.finish(failed(x), done(y), want=5)
    assert (answer.steps, answer.ended) == ([], [task])
    assert await kernel.steps(task) == {"x": "error", "y": "complete", "end": "pending"}
    assert await counters(kernel) == (3, 1, 0, 0, 1)
    assert await kernel.messages() == 0


async def test_a_task_waits_for_its_retry_although_something_else_failed_for_good(kernel):
    await kernel.clock(NOW)
    (task,), _ = await kernel.submit(await kernel.template({"bad": [], "slow": []}))
    bad, slow = sorted((await kernel.claim()).steps, key=lambda step: step.name)
    assert (await kernel.finish(failed(bad), failed(slow, retry_after=SECOND))).ended == []
    assert await kernel.state(task) == "waiting_for_retry"
    await kernel.clock(NOW + SECOND)
    (again,) = (await kernel.claim()).steps
    assert (await kernel.finish(done(again))).ended == [task]
    assert await kernel.state(task) == "blocked_by_failures"


async def test_a_lost_worker_is_named_in_the_history_and_other_branches_go_on(kernel):
    await kernel.clock(NOW)
    (task,), _ = await kernel.submit(
        await kernel.template({"cursed": [], "fine": [], "after": ["fine"]}, max_attempts=1)
    )
    cursed, fine = sorted((await kernel.claim("victim")).steps, key=lambda step: step.name)
    after = (await kernel.finish(done(fine), worker="victim", want=1)).steps
    await kernel.clock(NOW + LEASE - SECOND)
    assert await kernel.renew(*after, worker="victim") == []
    await kernel.clock(NOW + LEASE)
    answer = await kernel.claim("heir")
    assert (answer.steps, answer.ended, await kernel.state(task)) == ([], [], "steps_in_process")
    lost = await kernel.connection.fetchrow(
        "select from_state, to_state, attempt, worker, reason, error ->> 'error_type' as error from tasker.step_history"
        " where to_state = 'error'"
    )
    assert tuple(lost) == ("in_progress", "error", 1, "victim", "worker_lost", "worker_lost")
    assert await kernel.renew(cursed, *after, worker="victim") == [cursed.step_uuid]
    assert (await kernel.finish(done(cursed), worker="victim")).superseded == [cursed.step_uuid]
    assert (await kernel.finish(done(after[0]), worker="victim")).ended == [task]
    assert await counters(kernel) == (3, 2, 0, 0, 1)


async def test_the_history_of_a_step_tells_each_attempt(kernel):
    await kernel.clock(NOW)
    (task,), _ = await kernel.submit(await kernel.template({"first": [], "step": ["first"]}))
    (first,) = (await kernel.claim("w")).steps
    await kernel.finish(done(first), worker="w")
    (step,) = (await kernel.claim("w")).steps
    await kernel.finish(failed(step, retry_after=SECOND), worker="w")
    await kernel.clock(NOW + SECOND)
    (step,) = (await kernel.claim("v")).steps
    await kernel.finish(released(step), worker="v")
    (step,) = (await kernel.claim("u")).steps
    await kernel.clock(NOW + SECOND + LEASE)
    (step,) = (await kernel.claim("t")).steps
    await kernel.finish(done(step), worker="t")
    lines = await kernel.connection.fetch(
        "select h.from_state, h.to_state, h.attempt, h.worker, h.reason from tasker.step_history h"
        " join tasker.steps s using (step_uuid) where s.name = 'step' order by h.at, h.ctid"
    )
    assert [tuple(line) for line in lines] == [
        ("pending", "enqueued", 0, None, None),
        ("enqueued", "in_progress", 1, "w", None),
        ("in_progress", "waiting_for_retry", 1, "w", None),
        ("waiting_for_retry", "in_progress", 2, "v", None),
        ("in_progress", "enqueued", 2, "v", "released"),
        ("enqueued", "in_progress", 2, "u", None),
        ("in_progress", "in_progress", 3, "t", "worker_lost"),
        ("in_progress", "complete", 3, "t", None),
    ]
    lines = await kernel.connection.fetch(
        "select from_state, to_state from tasker.task_history where task_uuid = $1 order by at, ctid", task
    )
    assert [tuple(line) for line in lines] == [
        (None, "steps_in_process"),
        ("steps_in_process", "waiting_for_retry"),
        ("waiting_for_retry", "steps_in_process"),
        ("steps_in_process", "complete"),
    ]


async def test_the_next_due_time_is_the_earliest_of_all_namespaces(kernel):
    await kernel.clock(NOW)
    for namespace, wait in (("one", 20), ("two", 10), ("three", 5)):
        await kernel.submit(await kernel.template(ONE, namespace=namespace), start_at=NOW + SECOND * wait)
    assert (await kernel.claim("w", 5, "one", "two")).next_due_seconds == 10.0
    assert (await kernel.claim("w", 5, "one")).next_due_seconds == 20.0


async def test_what_is_overdue_is_said_to_be_due_until_it_is_taken(kernel):
    await kernel.clock(NOW)
    await kernel.submit(await kernel.template(ONE), 2, start_at=NOW + SECOND)
    await kernel.clock(NOW + SECOND)
    first = await kernel.claim(want=1)
    assert (len(first.steps), first.next_due_seconds) == (1, 0.0)
    second = await kernel.claim(want=1)
    assert (len(second.steps), second.next_due_seconds) == (1, 30.0)
