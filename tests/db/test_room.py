"""Room under limits is given up whoever stops a step, and nothing of it stays behind."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta

import pytest

from tasker_host.db.operate import tasks_operate
from tasker_host.errors import DatabaseUnavailable
from tests.db.conftest import LEASE, done
from tests.db.test_limits import ONE, parked, running

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)


async def test_a_lapsed_step_that_a_worker_with_other_tags_comes_across_gives_up_its_room(kernel):
    await kernel.clock(NOW)
    one = await kernel.template(ONE, steps={"a": {"concurrency_limit": 1}})
    await kernel.submit(one, limit_keys={"*": "key:tests:acme"}, tags=["gpu"])
    await kernel.submit(one, limit_keys={"*": "key:tests:acme"}, tags=["gpu"])
    (step,) = (await kernel.claim("gone", 1)).steps
    assert (await kernel.claim("other", tags=["gpu"])).steps == []
    assert (await running(kernel, "key:tests:acme"), await parked(kernel)) == (1, 1)
    await kernel.clock(NOW + LEASE)
    assert (await kernel.claim("cpu", tags=["cpu"])).steps == []
    assert await running(kernel, "key:tests:acme") == 0
    (next_one,) = (await kernel.claim("gpu", tags=["gpu"])).steps
    (last,) = (await kernel.finish(done(next_one), worker="gpu", want=10, tags=["gpu"])).steps
    assert step.step_uuid in {next_one.step_uuid, last.step_uuid}


@pytest.mark.parametrize("busy", ["a", "b", "c", "d"])
async def test_steps_taken_together_run_unless_their_own_key_is_the_busy_one(kernel, busy):
    one = await kernel.template(ONE, steps={"a": {"concurrency_limit": 1}})
    await kernel.submit(one, limit_keys={"*": f"key:tests:{busy}"})
    (before,) = (await kernel.claim()).steps
    tasks = {
        (await kernel.submit(one, limit_keys={"*": f"key:tests:{key}"}))[0][0]: key for key in ("b", "d", "c", "a", "c")
    }
    taken = (await kernel.claim()).steps
    assert sorted(tasks[step.task_uuid] for step in taken) == sorted({"a", "b", "c", "d"} - {busy})
    assert [await running(kernel, f"key:tests:{key}") for key in "abcd"] == [1, 1, 1, 1]
    taken += (await kernel.finish(done(before), want=10)).steps
    assert {tasks[step.task_uuid] for step in taken} == {"a", "b", "c", "d"}
    for step in taken:
        await kernel.finish(done(step))
    (last,) = (await kernel.claim()).steps
    assert tasks[last.task_uuid] == "c"
    await kernel.finish(done(last))
    assert await kernel.connection.fetch("select key from tasker.limits") == []


async def test_a_claim_does_not_wait_for_whoever_is_giving_up_a_key(new_kernel):
    kernel, other = await new_kernel(), await new_kernel()
    one = await kernel.template(ONE, steps={"a": {"concurrency_limit": 1}})
    await kernel.submit(one, limit_keys={"*": "key:tests:b"})
    (step,) = (await kernel.claim()).steps
    transaction = kernel.connection.transaction()
    await transaction.start()
    await kernel.finish(done(step))
    tasks = {(await other.submit(one, limit_keys={"*": f"key:tests:{key}"}))[0][0]: key for key in "abc"}
    async with asyncio.timeout(5):
        taken = (await other.claim("other")).steps
    assert sorted(tasks[step.task_uuid] for step in taken) == ["a", "c"]
    await transaction.commit()


async def test_a_rate_that_is_changed_starts_nothing_of_a_paused_task(kernel):
    await kernel.clock(NOW)
    await kernel.limit("handler:mail", rate=0.1)
    tasks, _ = await kernel.submit(await kernel.template(ONE, steps={"a": {"handler": "mail"}}), 2)
    (first,) = (await kernel.claim()).steps
    (waiting,) = set(tasks) - {first.task_uuid}
    await kernel.operate("pause", waiting)
    await kernel.limit("handler:mail", rate=100)
    await kernel.clock(NOW + SECOND)
    assert (await kernel.claim()).steps == []
    await kernel.operate("resume", waiting)
    (second,) = (await kernel.claim()).steps
    assert second.task_uuid == waiting


async def test_a_business_key_goes_also_when_the_last_of_its_steps_leaves_without_running(kernel):
    one = await kernel.template(ONE, steps={"a": {"concurrency_limit": 1}})
    keys = {"*": "key:tests:acme"}
    await kernel.submit(one, limit_keys=keys)
    (waiting,), _ = await kernel.submit(one, limit_keys=keys)
    (step,) = (await kernel.claim(want=1)).steps
    await kernel.claim()
    await kernel.limit("namespace:tests", 0)
    await kernel.finish(done(step))
    await kernel.claim()
    await kernel.operate("cancel", waiting)
    await kernel.limit("namespace:tests")
    await kernel.connection.execute("select tasker.limits_offer()")
    assert await kernel.connection.fetch("select key from tasker.limits") == []


async def test_a_step_decided_by_hand_is_a_parent_of_what_lists_it_only_once(kernel):
    template = await kernel.template({"decide": [], "x": []}, steps={"x": {"initial": False}})
    (task,), _ = await kernel.submit(template)
    (decide,) = (await kernel.claim()).steps
    expand = json.dumps({"steps": [{"name": "x", "parents": [["decide"]], "reads": None}], "links": []})
    await kernel.connection.execute(
        "select tasker.steps_operate('complete_manually', $1, '1', 'ada', 'why', $2)", [decide.step_uuid], expand
    )
    rows = await kernel.connection.fetch(
        "select name, cardinality(parents), cardinality(children) from tasker.steps where task_uuid = $1"
        " and name in ('decide', 'x') order by name",
        task,
    )
    assert [tuple(row) for row in rows] == [("decide", 0, 1), ("x", 1, 0)]


async def test_what_ended_while_a_limit_was_made_is_not_counted_for_ever(new_kernel):
    kernel, operator = await new_kernel(), await new_kernel()
    await kernel.clock(NOW)
    await operator.clock(NOW)
    await kernel.submit(await kernel.template(ONE), 2)
    step, other = (await kernel.claim()).steps
    transaction = kernel.connection.transaction()
    await transaction.start()
    await kernel.finish(done(step))
    # It does not see that this one ends, which does not see the limit.
    await operator.limit("namespace:tests", 5)
    await transaction.commit()
    await kernel.connection.execute("select tasker.limits_offer()")
    assert await running(kernel, "namespace:tests") == 2
    await kernel.clock(NOW + 6 * SECOND)
    await kernel.connection.execute("select tasker.limits_offer()")
    assert await running(kernel, "namespace:tests") == 1
    await kernel.finish(done(other))
    assert await running(kernel, "namespace:tests") == 0
    assert await kernel.connection.fetchval("select count(*) from tasker.recounts") == 0


DEADLOCKS = """
    create sequence public.deadlocks;
    create function public.deadlock() returns trigger language plpgsql as $$ begin
        if nextval('public.deadlocks') > {times} then return new; end if;
        raise exception 'deadlock detected' using errcode = '40P01';
    end $$;
    create trigger deadlock before update on tasker.tasks for each row execute function public.deadlock();
"""


async def test_an_operator_who_stood_in_a_workers_way_is_served_all_the_same(kernel, database):
    (task,), _ = await kernel.submit(await kernel.template(ONE))
    await kernel.connection.execute(DEADLOCKS.format(times=2))
    (done_,) = await tasks_operate(database, "pause", [task], actor="ada", reason="why")
    assert (done_.from_state, done_.to_state, done_.refused) == ("steps_in_process", "paused", None)


async def test_an_operator_who_always_stands_in_the_way_is_told_so(kernel, database):
    (task,), _ = await kernel.submit(await kernel.template(ONE))
    await kernel.connection.execute(DEADLOCKS.format(times=1_000_000))
    with pytest.raises(DatabaseUnavailable, match="others were in the way 5 times, and nothing was changed; try again"):
        await tasks_operate(database, "pause", [task], actor="ada", reason="why")
    assert await kernel.state(task) == "steps_in_process"
