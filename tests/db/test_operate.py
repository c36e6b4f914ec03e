"""What operators do to tasks and steps, by hand on the kernel."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from tasker_host.db.kernel import Outcome
from tasker_host.db.queries import task_history
from tasker_host.domain.ids import uuid7
from tests.db.conftest import Kernel, done, failed, released

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)
CHAIN = {"a": [], "b": ["a"], "c": ["b"]}
FORK = {"a": [], "b": ["a"], "c": ["a"], "d": ["b"], "e": ["c"]}


@pytest.fixture
async def kernel(new_kernel) -> Kernel:
    kernel = await new_kernel()
    await kernel.clock(NOW)
    return kernel


async def run(kernel: Kernel, *fails: str, limit: int = 50) -> list[str]:
    """Runs everything there is, the named steps failing for good; the names in the order they ran."""
    ran = []
    for _ in range(limit):
        taken = (await kernel.claim(want=1)).steps
        if not taken:
            return ran
        (step,) = taken
        ran.append(step.name)
        await kernel.finish(failed(step) if step.name in fails else done(step, step.name))
    raise AssertionError("it never ends")


async def counters(kernel: Kernel, task: UUID) -> tuple[int, ...]:
    """total, done, forgiven, active, retrying, failed"""
    row = await kernel.connection.fetchrow(
        "select steps_total, steps_done, steps_forgiven, steps_active, steps_retrying, steps_failed"
        " from tasker.tasks where task_uuid = $1",
        task,
    )
    return tuple(row)


async def moves(kernel: Kernel, task: UUID) -> list[tuple[str | None, str, str | None, str | None]]:
    rows = await kernel.connection.fetch(
        "select from_state, to_state, actor, reason from tasker.task_history where task_uuid = $1 order by at", task
    )
    return [tuple(row) for row in rows]


# Failures ------------------------------------------------------------------------------------------------------------


async def test_a_step_that_failed_for_good_does_not_stop_independent_branches(kernel):
    (task,), _ = await kernel.submit(await kernel.template(FORK))
    assert await run(kernel, "b") == ["a", "b", "c", "e"]
    assert await kernel.state(task) == "blocked_by_failures"
    assert await kernel.steps(task) == {"a": "complete", "b": "error", "c": "complete", "d": "pending", "e": "complete"}


async def test_a_task_that_fails_as_a_whole_runs_its_branches_to_their_end_and_cancels_the_rest(kernel):
    (task,), _ = await kernel.submit(await kernel.template(FORK, on_failure="fail"))
    assert await run(kernel, "b") == ["a", "b", "c", "e"]
    assert await kernel.state(task) == "error"
    assert (await kernel.steps(task))["d"] == "cancelled"
    assert await kernel.connection.fetchval("select completed_at from tasker.tasks where task_uuid = $1", task) == NOW


async def test_the_failure_of_an_optional_step_counts_as_done_and_its_value_is_null(kernel):
    (task,), _ = await kernel.submit(await kernel.template(CHAIN, steps={"b": {"if_failed": "forgive"}}))
    await kernel.finish(done((await kernel.claim()).steps[0]))
    (b,) = (await kernel.claim()).steps
    (c,) = (await kernel.finish(failed(b), want=1)).steps
    assert (c.name, json.loads(c.values)) == ("c", {"b": None})
    await kernel.finish(done(c))
    assert (await kernel.state(task), await counters(kernel, task)) == ("complete", (3, 2, 1, 0, 0, 0))


async def test_an_optional_step_whose_worker_vanished_counts_as_done_too(kernel):
    template = await kernel.template({"a": [], "b": ["a"]}, max_attempts=1, steps={"a": {"if_failed": "forgive"}})
    (task,), _ = await kernel.submit(template)
    await kernel.claim("gone")
    await kernel.clock(NOW + SECOND * 31)
    await kernel.claim("other", 1)
    assert await run(kernel) == ["b"]
    assert await kernel.state(task) == "complete"


# Cancel --------------------------------------------------------------------------------------------------------------


async def test_of_a_cancelled_task_nothing_starts_and_what_runs_keeps_its_result(kernel):
    (task,), _ = await kernel.submit(await kernel.template(FORK))
    await kernel.finish(done((await kernel.claim()).steps[0]))
    (b,) = (await kernel.claim(want=1)).steps
    assert await kernel.operate("cancel", task) == [("steps_in_process", "cancelled", None)]
    assert (await kernel.claim()).steps == []
    assert (await kernel.finish(done(b), want=5)).steps == []
    assert await kernel.steps(task) == {
        "a": "complete", "b": "complete", "c": "cancelled", "d": "cancelled", "e": "cancelled",
    }  # fmt: skip
    assert (await kernel.state(task), await kernel.messages()) == ("cancelled", 0)
    assert (await moves(kernel, task))[-1] == ("steps_in_process", "cancelled", "ada", "why")


@pytest.mark.parametrize("end", [failed, lambda step: failed(step, retry_after=SECOND), released])
async def test_a_step_of_a_cancelled_task_that_fails_or_is_given_back_is_not_run_again(kernel, end):
    (task,), _ = await kernel.submit(await kernel.template({"a": []}))
    (a,) = (await kernel.claim()).steps
    await kernel.operate("cancel", task)
    await kernel.finish(end(a))
    await kernel.clock(NOW + SECOND * 100)
    assert ((await kernel.claim()).steps, await kernel.messages()) == ([], 0)
    assert await kernel.state(task) == "cancelled"


async def test_a_step_of_a_cancelled_task_whose_worker_vanishes_is_cancelled(kernel):
    (task,), _ = await kernel.submit(await kernel.template({"a": []}))
    await kernel.claim("gone")
    await kernel.operate("cancel", task)
    await kernel.clock(NOW + SECOND * 31)
    assert (await kernel.claim("other")).steps == []
    assert (await kernel.steps(task), await kernel.messages()) == ({"a": "cancelled"}, 0)


async def test_an_interrupted_step_is_cancelled_and_its_result_refused(kernel):
    (task,), _ = await kernel.submit(await kernel.template(CHAIN))
    (a,) = (await kernel.claim()).steps
    await kernel.operate("cancel", task, running="interrupt")
    assert await kernel.renew(a) == [a.step_uuid]
    assert (await kernel.finish(done(a))).superseded == [a.step_uuid]
    assert await kernel.steps(task) == {"a": "cancelled", "b": "cancelled", "c": "cancelled"}


# Pause ---------------------------------------------------------------------------------------------------------------


async def test_a_paused_task_starts_nothing_and_holds_what_ends(kernel):
    (task,), _ = await kernel.submit(await kernel.template(FORK))
    await kernel.finish(done((await kernel.claim()).steps[0]))
    b, c = (await kernel.claim()).steps
    assert await kernel.operate("pause", task) == [("steps_in_process", "paused", None)]
    assert (await kernel.finish(done(b, "kept"), failed(c, retry_after=SECOND * 60), want=5)).steps == []
    assert await kernel.steps(task) == {
        "a": "complete", "b": "enqueued_for_orchestration", "c": "enqueued_as_error_for_orchestration",
        "d": "pending", "e": "pending",
    }  # fmt: skip
    assert await kernel.state(task) == "paused"
    assert await kernel.operate("resume", task) == [("paused", "steps_in_process", None)]
    (d,) = (await kernel.claim()).steps
    assert (d.name, json.loads(d.values)) == ("d", {"b": "kept"})
    assert (await kernel.steps(task))["c"] == "waiting_for_retry"
    await kernel.finish(done(d))
    await kernel.clock(NOW + SECOND * 60)
    assert await run(kernel) == ["c", "e"]
    assert (await kernel.state(task), await kernel.messages()) == ("complete", 0)
    assert [move[1] for move in await moves(kernel, task) if move[2] == "ada"] == ["paused", "steps_in_process"]


async def test_what_is_queued_waits_or_comes_due_while_a_task_is_paused_runs_when_it_is_resumed(kernel):
    one = await kernel.template({"a": []})
    (queued,), _ = await kernel.submit(one)
    (retrying,), _ = await kernel.submit(one)
    steps = {step.task_uuid: step for step in (await kernel.claim()).steps}
    await kernel.finish(released(steps[queued]), failed(steps[retrying], retry_after=SECOND * 10))
    (delayed,), _ = await kernel.submit(one, start_at=NOW + SECOND * 20)
    tasks = [queued, retrying, delayed]
    await kernel.operate("pause", *tasks)
    await kernel.clock(NOW + SECOND * 15)
    assert (await kernel.claim()).steps == []
    assert [to for _, to, _ in await kernel.operate("resume", *tasks)] == [
        "steps_in_process", "waiting_for_retry", "pending",
    ]  # fmt: skip
    assert {step.task_uuid for step in (await kernel.claim()).steps} == {queued, retrying}
    await kernel.clock(NOW + SECOND * 20)
    assert {step.task_uuid for step in (await kernel.claim()).steps} == {delayed}


async def test_a_paused_task_whose_worker_vanishes_goes_on_when_it_is_resumed(kernel):
    (task,), _ = await kernel.submit(await kernel.template({"a": []}))
    await kernel.claim("gone")
    await kernel.operate("pause", task)
    await kernel.clock(NOW + SECOND * 31)
    assert (await kernel.claim("other")).steps == []
    await kernel.clock(NOW + SECOND * 1000)
    assert (await kernel.claim("other")).steps == []
    await kernel.operate("resume", task)
    (again,) = (await kernel.claim("other")).steps
    assert again.attempt == 2


async def test_a_paused_task_can_be_cancelled_with_what_it_held(kernel):
    (task,), _ = await kernel.submit(await kernel.template(CHAIN))
    (a,) = (await kernel.claim()).steps
    await kernel.operate("pause", task)
    await kernel.finish(done(a))
    await kernel.operate("cancel", task)
    assert await kernel.steps(task) == {"a": "complete", "b": "cancelled", "c": "cancelled"}
    assert await counters(kernel, task) == (3, 1, 0, 0, 0, 0)


@pytest.mark.parametrize(
    ("before", "action"),
    [
        ((), "resume"),
        (("pause",), "pause"),
        (("cancel",), "pause"),
        (("cancel",), "cancel"),
        (("resolve_manually",), "cancel"),
        ((), "rerun"),
    ],
)
async def test_what_the_state_of_a_task_does_not_allow_is_refused_and_changes_nothing(kernel, before, action):
    (task,), _ = await kernel.submit(await kernel.template(CHAIN))
    for earlier in before:
        await kernel.operate(earlier, task)
    was = (await kernel.state(task), await kernel.steps(task), len(await moves(kernel, task)))
    ((from_state, to_state, refused),) = await kernel.operate(action, task)
    assert (from_state, to_state, refused) == (was[0], was[0], "illegal")
    assert (await kernel.state(task), await kernel.steps(task), len(await moves(kernel, task))) == was


async def test_a_task_that_does_not_exist_is_told_beside_the_others(kernel):
    (task,), _ = await kernel.submit(await kernel.template(CHAIN))
    assert await kernel.operate("pause", uuid7(), task) == [
        (None, None, "not_found"),
        ("steps_in_process", "paused", None),
    ]


# Repair --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("on_failure", ["block", "fail"])
@pytest.mark.parametrize("action", ["reset_for_retry", "resolve_manually", "complete_manually"])
async def test_a_repaired_task_goes_on_in_the_same_call(kernel, action, on_failure):
    (task,), _ = await kernel.submit(await kernel.template(CHAIN, on_failure=on_failure))
    await run(kernel, "b")
    was = "blocked_by_failures" if on_failure == "block" else "error"
    assert await kernel.state(task) == was
    b = await kernel.step(task, "b")
    ((from_state, to_state, refused),) = await kernel.repair(action, b, value={"by": "hand"})
    assert (from_state, refused) == ("error", None)
    assert await kernel.state(task) == "steps_in_process"
    assert (was, "steps_in_process", None, None) in await moves(kernel, task)
    (step,) = (await kernel.claim()).steps
    if action == "reset_for_retry":
        assert (to_state, step.name, step.attempt) == ("enqueued", "b", 1)
    else:
        values = {"by": "hand"} if action == "complete_manually" else None
        assert (step.name, json.loads(step.values)) == ("c", {"b": values})
    await kernel.finish(done(step))
    await run(kernel)
    assert (await kernel.state(task), await kernel.messages()) == ("complete", 0)


async def test_a_step_is_settled_by_hand_wherever_it_is_and_a_running_one_loses_its_lease(kernel):
    (task,), _ = await kernel.submit(await kernel.template(CHAIN))
    (a,) = (await kernel.claim()).steps
    await kernel.repair("complete_manually", a.step_uuid, value=7)
    assert (await kernel.finish(done(a))).superseded == [a.step_uuid]
    await kernel.repair("resolve_manually", await kernel.step(task, "c"))
    (b,) = (await kernel.claim()).steps
    assert json.loads(b.values) == {"a": 7}
    await kernel.finish(done(b))
    assert (await kernel.state(task), await kernel.messages()) == ("complete", 0)


async def test_of_a_batch_that_stopped_the_others_run_when_the_last_that_failed_is_repaired(kernel):
    template = await kernel.template(
        {"plan": [], "side": [], "work": []},
        steps={"work": {"initial": False, "if_failed": "stop_batch", "parallelism": 9}},
    )
    (task,), _ = await kernel.submit(template)
    plan, side = (await kernel.claim()).steps
    instances = [{"name": f"work_{n}", "inputs": {}} for n in range(4)]
    workers = {"name": "work", "parents": [["plan"]], "reads": None, "instances": instances}
    zero, one, two, _ = (await kernel.finish(expanded(plan, workers), want=9)).steps
    await kernel.finish(done(zero))
    await kernel.finish(failed(one), failed(two))
    stopped = {"work_0": "complete", "work_1": "error", "work_2": "error", "work_3": "cancelled"}
    assert (await kernel.steps(task)).items() >= (stopped | {"side": "in_progress"}).items()
    assert await kernel.repair("reset_for_retry", one.step_uuid) == [("error", "enqueued", None)]
    assert (await kernel.steps(task)).items() >= (stopped | {"work_1": "enqueued"}).items()
    await kernel.repair("resolve_manually", two.step_uuid)
    assert (await kernel.steps(task))["work_3"] == "enqueued"
    await kernel.finish(done(side))
    assert sorted(await run(kernel)) == ["work_1", "work_3"]
    assert await kernel.state(task) == "complete"


async def test_repairs_that_are_not_allowed_are_refused(kernel):
    (task,), _ = await kernel.submit(await kernel.template(CHAIN))
    a = await kernel.step(task, "a")
    assert await kernel.repair("reset_for_retry", a, uuid7()) == [
        ("enqueued", "enqueued", "illegal"),
        (None, None, "not_found"),
    ]
    await kernel.operate("cancel", task)
    assert await kernel.repair("complete_manually", a) == [("cancelled", "cancelled", "task_over")]


# Again ---------------------------------------------------------------------------------------------------------------


async def test_a_step_and_all_below_it_run_again_with_the_values_of_earlier_ones(kernel):
    (task,), _ = await kernel.submit(await kernel.template(FORK))
    await run(kernel)
    before = await kernel.connection.fetchval("select completed_at from tasker.tasks where task_uuid = $1", task)
    assert await kernel.operate("rerun", task, **{"from": ["c"]}) == [("complete", "steps_in_process", None)]
    assert await counters(kernel, task) == (5, 3, 0, 1, 0, 0)
    (c,) = (await kernel.claim()).steps
    assert (c.name, c.attempt, json.loads(c.values)) == ("c", 1, {"a": "a"})
    await kernel.clock(NOW + SECOND)
    await kernel.finish(done(c))
    assert await run(kernel) == ["e"]
    assert await kernel.state(task) == "complete"
    assert await kernel.connection.fetchval("select completed_at from tasker.tasks where task_uuid = $1", task) > before


async def test_a_cancelled_or_failed_task_is_run_again_where_it_stopped(kernel):
    (task,), _ = await kernel.submit(await kernel.template(FORK, on_failure="fail"))
    await run(kernel, "b")
    assert await kernel.operate("rerun", task) == [("error", "steps_in_process", None)]
    assert await run(kernel) == ["b", "d"]
    assert await kernel.state(task) == "complete"


async def test_what_still_runs_is_not_run_again(kernel):
    (task,), _ = await kernel.submit(await kernel.template(CHAIN))
    (a,) = (await kernel.claim()).steps
    await kernel.operate("cancel", task)
    assert await kernel.operate("rerun", task, **{"from": ["a"]}) == [("cancelled", "cancelled", "running")]
    await kernel.finish(done(a))
    assert await kernel.operate("rerun", task, **{"from": ["x"]}) == [("cancelled", "cancelled", "no_such_step")]
    assert await kernel.operate("rerun", task) == [("cancelled", "steps_in_process", None)]
    assert await run(kernel) == ["b", "c"]


def expanded(step, *new: dict[str, object]) -> Outcome:
    return done(step)._replace(expand=json.dumps({"steps": new, "links": []}))


async def test_a_decision_that_runs_again_decides_anew(kernel):
    template = await kernel.template(
        {"decide": [], "x": [], "y": []}, steps={"x": {"initial": False}, "y": {"initial": False}}
    )
    (task,), _ = await kernel.submit(template)
    (decide,) = (await kernel.claim()).steps

    def new(name: str) -> dict[str, object]:
        return {"name": name, "parents": [["decide"]], "reads": None}

    await kernel.finish(expanded(decide, new("x")))
    assert await run(kernel) == ["x"]
    assert (await kernel.state(task), await counters(kernel, task)) == ("complete", (2, 2, 0, 0, 0, 0))
    await kernel.operate("rerun", task, **{"from": ["decide"]})
    assert await kernel.steps(task) == {"decide": "enqueued"}
    (decide,) = (await kernel.claim()).steps
    await kernel.finish(expanded(decide, new("y")))
    assert await run(kernel) == ["y"]
    assert (await kernel.state(task), await kernel.steps(task)) == ("complete", {"decide": "complete", "y": "complete"})
    history = await task_history(kernel.connection, task)
    moves = {
        name: [move["to_state"] for move in history if move["step_name"] == name]
        for name in {move["step_name"] for move in history if move["step_uuid"]}
    }
    assert moves == {
        "decide": ["in_progress", "complete", "pending", "enqueued", "in_progress", "complete"],
        "x": ["enqueued", "in_progress", "complete", "cancelled"],
        "y": ["enqueued", "in_progress", "complete"],
    }


async def test_a_result_that_comes_too_late_adds_no_steps(kernel):
    template = await kernel.template({"decide": [], "x": []}, steps={"x": {"initial": False}})
    (task,), _ = await kernel.submit(template)
    (decide,) = (await kernel.claim("slow")).steps
    await kernel.clock(NOW + SECOND * 31)
    await kernel.claim("other")
    new = {"name": "x", "parents": [["decide"]], "reads": None}
    late = await kernel.finish(expanded(decide, new), worker="slow")
    assert (late.superseded, await kernel.steps(task)) == ([decide.step_uuid], {"decide": "in_progress"})


async def test_a_step_is_found_without_its_siblings_whatever_the_statistics_say(kernel):
    template = await kernel.template(
        {"plan": [], "work": []}, steps={"work": {"initial": False, "parallelism": 100}, "plan": {}}
    )
    for _ in range(100):
        await kernel.submit(template)
    await kernel.connection.execute("analyze")  # now tasks seem to have a step each
    (plan, *_) = (await kernel.claim(want=1)).steps
    instances = [{"name": f"work_{n}", "inputs": {"n": n}} for n in range(2000)]
    workers = {"name": "work", "parents": [["plan"]], "reads": None, "instances": instances}
    taken = (await kernel.finish(expanded(plan, workers), want=100)).steps
    assert len(taken) == 100
    async with kernel.connection.transaction():
        await kernel.finish(*map(done, taken), want=100)
        read = await kernel.connection.fetchval(
            "select seq_tup_read + idx_tup_fetch from pg_stat_xact_user_tables"
            " where schemaname = 'tasker' and relname = 'steps'"
        )
    assert read < 100 * 100  # and not 100 * 2000


async def test_ten_thousand_workers_and_their_join_are_made_and_run(kernel):
    many = 10_000
    template = await kernel.template(
        {"plan": [], "work": [], "join": []},
        steps={"work": {"initial": False, "parallelism": 500}, "join": {"initial": False}},
    )
    (task,), _ = await kernel.submit(template)
    (plan,) = (await kernel.claim()).steps
    instances = [{"name": f"work_{n}", "inputs": {"n": n}} for n in range(many)]
    workers = {"name": "work", "parents": [["plan"]], "reads": None, "instances": instances}
    join = {"name": "join", "parents": [["work"]], "reads": None}
    taken = (await kernel.finish(expanded(plan, workers, join), want=500)).steps
    ran = 0
    while taken and taken[0].name != "join":
        assert len(taken) <= 500
        ran += len(taken)
        taken = (await kernel.finish(*map(done, taken), want=500)).steps
    assert (ran, len(json.loads(taken[0].values))) == (many, many)
    await kernel.finish(done(taken[0]))
    assert (await kernel.state(task), await kernel.messages()) == ("complete", 0)
    # In linear time that is half a second; looking at each of ten thousand for each of them took fifteen.
    await kernel.connection.execute("set statement_timeout = '6s'")
    assert await kernel.operate("rerun", task, **{"from": ["plan"]}) == [("complete", "steps_in_process", None)]
    assert await kernel.steps(task) == {"plan": "enqueued"}
