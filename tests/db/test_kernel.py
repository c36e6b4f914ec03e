"""The kernel's calls, one rule a test."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tasker_host.db.kernel import Taker
from tasker_host.domain.ids import WorkerId
from tests.db.conftest import LEASE, done, failed, released

NOW = datetime(2026, 1, 1, tzinfo=UTC)
CHAIN = {"a": [], "b": ["a"], "c": ["b"]}
DIAMOND = {"top": [], "left": ["top"], "right": ["top"], "end": ["left", "right"]}
ONE = {"only": []}


def seconds(number: float) -> timedelta:
    return timedelta(seconds=number)


def names(taken) -> list[str]:
    return sorted(step.name for step in taken.steps)


# Submitting -----------------------------------------------------------------------------------------------------------


async def test_a_submitted_task_has_its_steps_edges_history_and_first_messages(kernel):
    (task,), submitted = await kernel.submit(await kernel.template(DIAMOND), context='{"n":  1.0}')
    assert (submitted.created, submitted.steps) == ([True], [])
    assert await kernel.steps(task) == {"top": "enqueued", "left": "pending", "right": "pending", "end": "pending"}
    row = await kernel.connection.fetchrow("select * from tasker.tasks where task_uuid = $1", task)
    assert (row["state"], row["steps_total"], row["steps_active"], row["context"]) == (
        "steps_in_process", 4, 1, '{"n":  1.0}',
    )  # fmt: skip
    history = await kernel.connection.fetch("select from_state, to_state from tasker.task_history")
    assert [tuple(line) for line in history] == [(None, "steps_in_process")]
    assert await kernel.messages() == 1


async def test_an_identity_that_is_taken_writes_nothing_and_holds_up_no_neighbour(kernel):
    template = await kernel.template(ONE)
    await kernel.submit(template, identity="i")
    _, again = await kernel.submit(template, 3, identity="i")
    assert again.created == [False, False, False]
    _, others = await kernel.submit(template, 3, identity="j")
    assert others.created == [True, False, False]
    assert await kernel.connection.fetchval("select count(*) from tasker.steps") == 2
    assert await kernel.messages() == 2


async def test_a_task_without_steps_is_complete_at_once(kernel):
    (task,), _ = await kernel.submit(await kernel.template({}))
    assert await kernel.state(task) == "complete"
    assert await kernel.messages() == 0


async def test_a_task_that_starts_later_is_claimed_then_and_not_before(kernel):
    await kernel.clock(NOW)
    (task,), _ = await kernel.submit(await kernel.template(ONE), start_at=NOW + seconds(60))
    early = await kernel.claim()
    assert (early.steps, early.next_due_seconds) == ([], 60.0)
    assert await kernel.state(task) == "pending"
    await kernel.clock(NOW + seconds(60))
    assert names(await kernel.claim()) == ["only"]
    assert await kernel.state(task) == "steps_in_process"


async def test_a_taker_with_room_is_given_the_first_steps_at_once(kernel):
    taker = Taker(WorkerId("w"), ["tests"], 2, LEASE)
    (task,), submitted = await kernel.submit(await kernel.template({"a": [], "b": [], "c": ["a", "b"]}), taker=taker)
    assert [(step.name, step.attempt) for step in submitted.steps] == [("a", 1), ("b", 1)]
    assert (await kernel.claim("other")).steps == []
    last = await kernel.finish(*map(done, submitted.steps), want=1)
    assert names(last) == ["c"]
    await kernel.finish(done(last.steps[0]))
    assert await kernel.state(task) == "complete"
    assert await kernel.messages() == 0


async def test_a_taker_is_given_nothing_without_room_for_all_or_while_older_work_waits(kernel):
    template = await kernel.template({"a": [], "b": []})
    small = Taker(WorkerId("w"), ["tests"], 1, LEASE)
    _, submitted = await kernel.submit(template, taker=small)
    assert submitted.steps == []
    large = Taker(WorkerId("w"), ["tests"], 100, LEASE)
    _, behind = await kernel.submit(template, taker=large)
    assert behind.steps == []
    assert len((await kernel.claim()).steps) == 4


# Claiming -------------------------------------------------------------------------------------------------------------


async def test_higher_priority_goes_first_and_waiting_makes_up_for_it(kernel):
    template = await kernel.template(ONE)
    order = []
    for priority, at in ((0, 0), (5, 1), (0, 2), (1, 299), (1, 301)):
        await kernel.clock(NOW + seconds(at))
        (task,), _ = await kernel.submit(template, priority=priority)
        order.append(task)
    await kernel.clock(NOW + seconds(400))
    claimed = [(await kernel.claim(want=1)).steps[0].task_uuid for _ in order]
    # Five levels outweigh 1,500 s; one level outweighs 299 s of waiting, and not 301 s.
    assert claimed == [order[1], order[3], order[0], order[4], order[2]]


async def test_later_steps_of_an_older_task_go_before_first_steps_of_a_newer_one(kernel):
    template = await kernel.template(CHAIN)
    await kernel.clock(NOW)
    (old,), _ = await kernel.submit(template)
    (first,) = (await kernel.claim(want=1)).steps
    await kernel.clock(NOW + seconds(1))
    await kernel.submit(template)
    await kernel.finish(done(first))
    (following,) = (await kernel.claim(want=1)).steps
    assert (following.task_uuid, following.name) == (old, "b")


async def test_two_workers_never_get_the_same_step(kernel, new_kernel):
    await kernel.submit(await kernel.template(ONE), 20)
    other = await new_kernel()
    first, second = await kernel.claim("a", 12), await other.claim("b", 12)
    assert (len(first.steps), len(second.steps)) == (12, 8)
    assert not {step.step_uuid for step in first.steps} & {step.step_uuid for step in second.steps}


async def test_a_claim_takes_from_each_namespace_and_from_no_other(kernel):
    for namespace in ("one", "two", "three"):
        await kernel.submit(await kernel.template(ONE, namespace=namespace))
    taken = await kernel.claim("w", 10, "one", "two")
    assert sorted(step.namespace for step in taken.steps) == ["one", "two"]


async def test_values_of_parents_are_given_digit_for_digit(kernel):
    await kernel.submit(await kernel.template({"a": [], "b": ["a"]}), context='{"x": 1e2}')
    (a,) = (await kernel.claim()).steps
    assert (a.context, a.values) == ('{"x": 1e2}', None)
    outcome = done(a)._replace(value='{"big":63340286662973277706162286946811886609896461828096,"f":1.0}')
    (b,) = (await kernel.finish(outcome, want=1)).steps
    assert b.values == '{ "a" : {"big":63340286662973277706162286946811886609896461828096,"f":1.0} }'


# Finishing ------------------------------------------------------------------------------------------------------------


async def test_finishing_a_step_hands_its_successors_to_the_same_worker(kernel):
    (task,), _ = await kernel.submit(await kernel.template(DIAMOND))
    (top,) = (await kernel.claim()).steps
    middle = await kernel.finish(done(top), want=5)
    assert names(middle) == ["left", "right"]
    left, right = middle.steps
    assert (await kernel.finish(done(left), want=5)).steps == []
    end = await kernel.finish(done(right), want=5)
    assert names(end) == ["end"]
    ended = await kernel.finish(done(end.steps[0]))
    assert ended.ended == [task]
    assert await kernel.state(task) == "complete"
    assert await kernel.messages() == 0


async def test_what_the_worker_has_no_room_for_is_left_and_told(kernel):
    await kernel.submit(await kernel.template(DIAMOND))
    (top,) = (await kernel.claim()).steps
    taken = await kernel.finish(done(top), want=1)
    assert (len(taken.steps), taken.left) == (1, ["tests"])
    assert len((await kernel.claim("other")).steps) == 1


async def test_a_finish_also_takes_older_work_that_waits(kernel):
    template = await kernel.template(CHAIN)
    await kernel.clock(NOW)
    (old,), _ = await kernel.submit(template)
    await kernel.clock(NOW + seconds(1))
    await kernel.submit(template)
    claimed = (await kernel.claim(want=2)).steps
    newer = next(step for step in claimed if step.task_uuid != old)
    older = next(step for step in claimed if step.task_uuid == old)
    await kernel.finish(done(older))
    taken = await kernel.finish(done(newer), want=1)
    assert [(step.task_uuid, step.name) for step in taken.steps] == [(old, "b")]


async def test_a_finish_that_is_not_to_look_takes_successors_only(kernel):
    template = await kernel.template(CHAIN)
    await kernel.clock(NOW)
    (old,), _ = await kernel.submit(template)
    (first,) = (await kernel.claim()).steps
    await kernel.submit(template, 2)
    taken = await kernel.finish(done(first), want=3, look=False)
    assert [(step.task_uuid, step.name) for step in taken.steps] == [(old, "b")]
    assert taken.next_due_seconds is None
    assert len((await kernel.claim()).steps) == 2


async def test_a_retry_waits_until_it_is_due_and_is_another_attempt(kernel):
    await kernel.clock(NOW)
    (task,), _ = await kernel.submit(await kernel.template(ONE))
    (step,) = (await kernel.claim()).steps
    assert (await kernel.finish(failed(step, retry_after=seconds(10)))).next_due_seconds == 10.0
    assert (await kernel.state(task), await kernel.steps(task)) == ("waiting_for_retry", {"only": "waiting_for_retry"})
    await kernel.clock(NOW + seconds(9.9))
    assert (await kernel.claim()).steps == []
    await kernel.clock(NOW + seconds(10))
    (again,) = (await kernel.claim()).steps
    assert again.attempt == 2
    assert await kernel.state(task) == "steps_in_process"


async def test_a_failure_for_good_blocks_the_task_once_nothing_else_can_run(kernel):
    (task,), _ = await kernel.submit(
        await kernel.template({"bad": [], "good": [], "after": ["good"], "never": ["bad"]})
    )
    bad, good = sorted((await kernel.claim()).steps, key=lambda step: step.name)
    first = await kernel.finish(failed(bad), want=5)
    assert (first.ended, await kernel.state(task)) == ([], "steps_in_process")
    after = await kernel.finish(done(good), want=5)
    last = await kernel.finish(done(after.steps[0]), want=5)
    assert (last.ended, await kernel.state(task)) == ([task], "blocked_by_failures")
    assert await kernel.steps(task) == {"bad": "error", "good": "complete", "after": "complete", "never": "pending"}


async def test_a_released_step_has_not_used_an_attempt(kernel):
    await kernel.submit(await kernel.template(ONE, max_attempts=1))
    for _ in range(3):
        (step,) = (await kernel.claim()).steps
        assert step.attempt == 1
        assert (await kernel.finish(released(step))).left == ["tests"]


async def test_a_step_released_for_later_is_kept_from_everybody_until_then(kernel):
    await kernel.clock(NOW)
    await kernel.submit(await kernel.template(ONE))
    (step,) = (await kernel.claim()).steps
    await kernel.finish(released(step, after=seconds(5)))
    early = await kernel.claim("other")
    assert (early.steps, early.next_due_seconds) == ([], 5.0)
    await kernel.clock(NOW + seconds(5))
    assert [again.attempt for again in (await kernel.claim("other")).steps] == [1]


async def test_outcomes_of_many_tasks_and_namespaces_go_in_one_call(kernel):
    one = await kernel.template(CHAIN, namespace="one")
    two = await kernel.template(ONE, namespace="two")
    await kernel.submit(one, 3)
    (ended, *_), _ = await kernel.submit(two)
    steps = (await kernel.claim("w", 10, "one", "two")).steps
    taken = await kernel.finish(*map(done, steps), want=10, namespaces=("one", "two"))
    assert names(taken) == ["b", "b", "b"]
    assert taken.ended == [ended]


# The fence ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("change", [{"worker": "thief"}, {"attempt": 2}, {"attempt": 0}], ids=str)
async def test_a_result_of_another_worker_or_attempt_changes_nothing(kernel, change):
    (task,), _ = await kernel.submit(await kernel.template(CHAIN))
    (step,) = (await kernel.claim()).steps
    outcome = done(step)._replace(attempt=change.get("attempt", step.attempt))
    answer = await kernel.finish(outcome, worker=change.get("worker", "w"), want=5)
    assert (answer.superseded, answer.steps) == ([step.step_uuid], [])
    assert (await kernel.steps(task))["a"] == "in_progress"


async def test_a_result_reported_twice_moves_the_step_once(kernel):
    (task,), _ = await kernel.submit(await kernel.template(CHAIN))
    (step,) = (await kernel.claim()).steps
    assert (await kernel.finish(done(step))).superseded == []
    assert (await kernel.finish(done(step, 2))).superseded == [step.step_uuid]
    assert await kernel.connection.fetchval("select result from tasker.steps where name = 'a'") == "1"
    assert await kernel.connection.fetchval("select steps_done from tasker.tasks where task_uuid = $1", task) == 1


async def test_a_lease_that_ran_out_is_given_to_another_and_the_first_is_fenced_off(kernel):
    await kernel.clock(NOW)
    await kernel.submit(await kernel.template(CHAIN))
    (step,) = (await kernel.claim("slow")).steps
    await kernel.clock(NOW + LEASE)
    (taken_over,) = (await kernel.claim("quick")).steps
    assert (taken_over.step_uuid, taken_over.attempt) == (step.step_uuid, 2)
    assert (await kernel.finish(done(step), worker="slow")).superseded == [step.step_uuid]
    assert (await kernel.finish(done(taken_over), worker="quick", want=1)).steps[0].name == "b"


async def test_a_renewed_lease_does_not_run_out_and_a_lost_one_is_told(kernel):
    await kernel.clock(NOW)
    await kernel.submit(await kernel.template(ONE), 2)
    kept, lost = (await kernel.claim("w", 2)).steps
    await kernel.clock(NOW + seconds(20))
    assert await kernel.renew(kept) == []
    await kernel.clock(NOW + seconds(31))
    (stolen,) = (await kernel.claim("thief")).steps
    assert stolen.step_uuid == lost.step_uuid
    assert await kernel.renew(kept, lost) == [lost.step_uuid]


async def test_a_step_whose_workers_all_vanish_ends_in_error_at_max_attempts(kernel):
    await kernel.clock(NOW)
    (task,), _ = await kernel.submit(await kernel.template(ONE, max_attempts=2))
    for round_ in range(2):
        await kernel.clock(NOW + LEASE * round_)
        assert [step.attempt for step in (await kernel.claim(f"w{round_}")).steps] == [round_ + 1]
    await kernel.clock(NOW + LEASE * 2)
    answer = await kernel.claim("last")
    assert (answer.steps, answer.ended) == ([], [task])
    assert await kernel.state(task) == "blocked_by_failures"
    error = await kernel.connection.fetchval("select error ->> 'message' from tasker.steps")
    assert error == "the worker w1 vanished during attempt 2 of 2"
    assert await kernel.messages() == 0


async def test_messages_of_no_step_leave_the_queue_and_hold_nothing_up(kernel):
    await kernel.submit(await kernel.template(ONE))
    await kernel.connection.execute(
        """select pgmq.send('tests_queue', '{"task_uuid": "00000000-0000-0000-0000-000000000000",
                             "step_uuid": "00000000-0000-0000-0000-000000000000"}')"""
    )
    assert await kernel.messages() == 2
    assert names(await kernel.claim()) == ["only"]
    assert await kernel.messages() == 1
