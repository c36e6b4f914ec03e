"""Limits: how many run at once, how many start per second, and what waits for room."""

from __future__ import annotations

import asyncio
import random
from datetime import UTC, datetime, timedelta

import pytest

from tests.db.conftest import done, failed, released
from tests.db.test_cost import claim_pages

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)
ONE = {"a": []}


async def running(kernel, key):
    return await kernel.connection.fetchval("select running from tasker.limits where key = $1", key)


async def parked(kernel):
    return await kernel.connection.fetchval("select count(*) from tasker.parked")


@pytest.fixture
async def kernel(new_kernel):
    return await new_kernel()


@pytest.mark.parametrize("key", ["namespace:tests", "handler:charge"])
async def test_no_more_steps_run_at_once_than_a_limit_allows(kernel, key):
    await kernel.limit(key, 2)
    await kernel.submit(await kernel.template(ONE, steps={"a": {"handler": "charge"}}), 5)
    first = (await kernel.claim()).steps
    assert (len(first), await running(kernel, key), await parked(kernel)) == (2, 2, 3)
    assert [step.attempt for step in first] == [1, 1]
    next_ones = (await kernel.finish(done(first[0]), want=100)).steps
    assert (len(next_ones), await running(kernel, key)) == (1, 2)
    last = (await kernel.finish(*map(done, [first[1], *next_ones]), want=100)).steps
    assert [step.attempt for step in last] == [1, 1]
    await kernel.finish(*map(done, last))
    assert (await running(kernel, key), await parked(kernel), await kernel.messages()) == (0, 0, 0)


async def test_what_waits_for_room_comes_in_the_order_of_its_rank(kernel):
    await kernel.limit("namespace:tests", 1)
    one = await kernel.template(ONE)
    (low,), _ = await kernel.submit(one, priority=-5)
    (high,), _ = await kernel.submit(one, priority=5)
    (middle,), _ = await kernel.submit(one)
    order = []
    taken = (await kernel.claim()).steps
    while taken:
        order += [step.task_uuid for step in taken]
        taken = (await kernel.finish(*map(done, taken), want=100)).steps
    assert order == [high, middle, low]


async def test_steps_of_a_business_key_run_one_at_a_time_and_the_key_goes_with_them(kernel):
    one = await kernel.template(ONE, steps={"a": {"concurrency_limit": 1}})
    for customer in ("ada", "bob"):
        await kernel.submit(one, 3, limit_keys={"*": f"key:tests:{customer}"})
    taken = (await kernel.claim()).steps
    assert len(taken) == 2
    rounds = 1
    while taken:
        taken = (await kernel.finish(*map(done, taken), want=100)).steps
        assert len(taken) in (0, 2)
        rounds += bool(taken)
    assert rounds == 3
    assert await kernel.connection.fetchval("select count(*) from tasker.limits") == 0


async def test_a_step_under_several_keys_runs_when_all_have_room(kernel):
    await kernel.limit("namespace:tests", 2)
    one = await kernel.template(ONE, steps={"a": {"concurrency_limit": 1}})
    await kernel.submit(one, 2, limit_keys={"*": "key:tests:x"})
    await kernel.submit(one, 2, limit_keys={"*": "key:tests:y"})
    taken = (await kernel.claim()).steps
    assert len(taken) == 2
    assert len({step.task_uuid for step in taken}) == 2
    assert await kernel.connection.fetch("select key, running from tasker.limits order by key") == [
        ("key:tests:x", 1),
        ("key:tests:y", 1),
        ("namespace:tests", 2),
    ]


@pytest.mark.parametrize("end", ["failed", "retried", "released", "worker_lost", "cancelled", "completed_by_hand"])
async def test_however_a_step_stops_running_its_room_is_given_to_the_next(kernel, end):
    await kernel.clock(NOW)
    await kernel.limit("namespace:tests", 1)
    one = await kernel.template(ONE, max_attempts=1 if end == "worker_lost" else 3)
    (first,), _ = await kernel.submit(one, priority=1)
    (second,), _ = await kernel.submit(one)
    (step,) = (await kernel.claim()).steps
    assert (step.task_uuid, (await kernel.claim()).steps) == (first, [])
    if end in ("failed", "retried"):
        await kernel.finish(failed(step, retry_after=SECOND * 60 if end == "retried" else None))
    elif end == "released":
        await kernel.finish(released(step, after=SECOND * 60))
    elif end == "worker_lost":
        await kernel.clock(NOW + SECOND * 31)
    elif end == "cancelled":
        await kernel.operate("cancel", first, running="interrupt")
    else:
        await kernel.repair("complete_manually", step.step_uuid, value=1)
    taken = [*(await kernel.claim()).steps, *(await kernel.claim()).steps]
    assert [step.task_uuid for step in taken] == [second]
    assert await running(kernel, "namespace:tests") == 1


@pytest.mark.parametrize("what", ["cancel", "pause", "resolve_manually", "complete_manually"])
async def test_a_step_that_came_back_for_room_and_will_not_run_leaves_its_turn_to_the_next(kernel, what):
    await kernel.limit("namespace:tests", 1)
    one = await kernel.template(ONE)
    await kernel.submit(one, priority=2)
    (second,), _ = await kernel.submit(one, priority=1)
    (third,), _ = await kernel.submit(one)
    (step,) = (await kernel.claim()).steps
    await kernel.finish(done(step))
    assert (await running(kernel, "namespace:tests"), await parked(kernel)) == (0, 1)
    if what == "complete_manually":
        await kernel.repair(what, await kernel.step(second, "a"), value=1)
    else:
        await kernel.operate(what, second)
    assert [step.task_uuid for step in (await kernel.claim()).steps] == [third]


async def test_a_step_that_finds_no_room_under_another_key_leaves_its_turn_to_the_next(kernel):
    both = await kernel.template(ONE, steps={"a": {"handler": "charge"}})
    await kernel.limit("namespace:tests", 1)
    await kernel.submit(await kernel.template(ONE, steps={"a": {"handler": "look"}}), priority=2)
    await kernel.submit(both, priority=1)
    (third,), _ = await kernel.submit(await kernel.template(ONE, steps={"a": {"handler": "look"}}))
    (step,) = (await kernel.claim()).steps
    await kernel.limit("handler:charge", paused=True)
    await kernel.finish(done(step))
    taken = [*(await kernel.claim()).steps, *(await kernel.claim()).steps]
    assert [step.task_uuid for step in taken] == [third]


async def test_a_step_that_comes_back_for_room_and_that_nobody_takes_does_not_keep_it_for_ever(kernel):
    await kernel.limit("namespace:tests", 1)
    one = await kernel.template(ONE)
    await kernel.submit(one, priority=2)
    await kernel.submit(one, priority=1, tags=["gpu"])
    (third,), _ = await kernel.submit(one)
    (step,) = (await kernel.claim(want=1)).steps
    await kernel.claim()
    await kernel.finish(done(step), tags=[])
    assert (await kernel.claim(tags=[])).steps == []
    assert await kernel.connection.fetchval("select tasker.limits_offer()") == ["tests"]
    assert [step.task_uuid for step in (await kernel.claim(tags=[])).steps] == [third]


async def test_a_worker_that_takes_over_a_lease_takes_over_its_room(kernel):
    await kernel.clock(NOW)
    await kernel.limit("namespace:tests", 1)
    await kernel.submit(await kernel.template(ONE), 2)
    (step,) = (await kernel.claim("gone")).steps
    await kernel.clock(NOW + SECOND * 31)
    (again,) = (await kernel.claim("other")).steps
    assert (again.step_uuid, again.attempt, await running(kernel, "namespace:tests")) == (step.step_uuid, 2, 1)


async def test_a_paused_namespace_starts_nothing_and_what_ran_ends(kernel):
    one = await kernel.template(ONE)
    await kernel.submit(one)
    (step,) = (await kernel.claim()).steps
    await kernel.limit("namespace:tests", paused=True)
    await kernel.submit(one, 3)
    assert (await kernel.finish(done(step), want=100)).steps == []
    assert (await kernel.claim()).steps == []
    await kernel.limit("namespace:tests")
    assert len((await kernel.claim()).steps) == 3
    assert await kernel.connection.fetchval("select count(*) from tasker.limits") == 0


async def test_a_limit_is_changed_while_everything_runs(kernel):
    one = await kernel.template(ONE)
    await kernel.submit(one, 10)
    running_now = (await kernel.claim(want=4)).steps
    await kernel.limit("namespace:tests", 2)
    assert await running(kernel, "namespace:tests") == 4
    assert (await kernel.claim()).steps == []
    assert (await kernel.finish(*map(done, running_now[:2]), want=100)).steps == []
    await kernel.limit("namespace:tests", 5)
    assert len((await kernel.claim()).steps) == 3
    await kernel.limit("namespace:tests")
    assert len((await kernel.claim()).steps) == 3
    history = await kernel.connection.fetch(
        "select change ->> 'max_running', actor from tasker.limit_history order by at"
    )
    assert history == [("2", "ada"), ("5", "ada"), (None, "ada")]


async def test_a_rate_gives_every_step_its_turn_and_no_earlier(kernel):
    await kernel.clock(NOW)
    await kernel.limit("handler:mail", rate=2)
    await kernel.submit(await kernel.template(ONE, steps={"a": {"handler": "mail"}}), 5)
    starts = []
    now = NOW
    while len(starts) < 5:
        taken = await kernel.claim()
        starts += [(now - NOW).total_seconds() for _ in taken.steps]
        if not taken.steps:
            assert taken.next_due_seconds is not None
            now += timedelta(seconds=taken.next_due_seconds)
            await kernel.clock(now)
    assert starts == [0, 0.5, 1, 1.5, 2]
    # Each was taken and put back once at most.
    reads = await kernel.connection.fetchval("select max(read_ct) from pgmq.q_tests_queue")
    assert reads <= 2


async def test_a_rate_that_is_raised_is_felt_at_once(kernel):
    await kernel.clock(NOW)
    await kernel.limit("handler:mail", rate=0.001)
    await kernel.submit(await kernel.template(ONE, steps={"a": {"handler": "mail"}}), 3)
    assert len((await kernel.claim()).steps) == 1
    await kernel.limit("handler:mail")
    assert len((await kernel.claim()).steps) == 2


async def test_steps_that_wait_for_room_cost_a_claim_nothing(kernel):
    await kernel.limit("namespace:tests", 1)
    one = await kernel.template(ONE)
    await kernel.submit(one, 2)
    await kernel.claim()
    before = await claim_pages(kernel)
    await kernel.submit(one, 500)
    while (await kernel.claim()).left or await kernel.connection.fetchval(
        "select count(*) from pgmq.q_tests_queue where (headers -> 'rank') is not null"
    ):
        pass
    assert await parked(kernel) == 501
    await kernel.connection.execute("vacuum pgmq.q_tests_queue, tasker.steps")
    await kernel.claim()  # makes its plans anew
    assert await claim_pages(kernel) <= before + 10


async def test_a_limit_holds_whatever_many_workers_do(new_kernel):
    """Workers finish, fail and give back at random; each claim and finish commits on a connection of its own."""
    seed = random.randrange(10**9)
    print(f"seed {seed}")
    dice = random.Random(seed)
    boss = await new_kernel()
    await boss.limit("namespace:tests", 3)
    tasks, _ = await boss.submit(
        await boss.template({"a": [], "b": ["a"]}, steps={"a": {"concurrency_limit": 2}}, max_attempts=100),
        60,
        limit_keys={"a": "key:tests:x"},
    )
    most = 0

    async def work(name):
        nonlocal most
        kernel = await new_kernel()
        held = list((await kernel.claim(name, 4)).steps)
        while await boss_open():
            now = await kernel.connection.fetchval("select count(*) from tasker.steps where state = 'in_progress'")
            most = max(most, now)
            outcomes = [
                dice.choice([done, done, done, failed_soon, released])(step) for step in held if dice.random() < 0.8
            ]
            finished = {outcome.step_uuid for outcome in outcomes}
            held = [step for step in held if step.step_uuid not in finished]
            if outcomes:
                held += (await kernel.finish(*outcomes, worker=name, want=4)).steps
            else:
                held += (await kernel.claim(name, 4)).steps

    async def boss_open():
        async with lock:
            return await boss.connection.fetchval("select exists (select from tasker.tasks where state <> 'complete')")

    lock = asyncio.Lock()
    async with asyncio.timeout(60):
        await asyncio.gather(*(work(f"w{number}") for number in range(4)))
    assert most <= 3
    assert await running(boss, "namespace:tests") == 0
    assert await parked(boss) == 0
    assert len(tasks) == 60


def failed_soon(step):
    return failed(step, retry_after=timedelta(milliseconds=1))


async def test_a_step_that_takes_the_room_of_the_one_before_costs_its_limits_no_write(kernel):
    await kernel.limit("namespace:tests", 5)
    await kernel.limit("handler:charge", 5)
    charged = {name: {"handler": "charge"} for name in "abc"}
    chain = await kernel.template({"a": [], "b": ["a"], "c": ["b"]}, steps=charged)
    await kernel.submit(chain, 2, limit_keys={"a": "key:tests:x", "b": "key:tests:x", "c": "key:tests:x"})
    steps = (await kernel.claim()).steps
    written = "select key, running, xmin::text from tasker.limits order by key"
    before = await kernel.connection.fetch(written)
    for _ in range(2):
        steps = (await kernel.finish(*map(done, steps), want=100)).steps
        assert len(steps) == 2
    assert await kernel.connection.fetch(written) == before
    assert [row["running"] for row in before] == [2, 2, 2]
    history = "select count(*) from tasker.step_history where to_state = 'in_progress'"
    assert await kernel.connection.fetchval(history) == 6
    await kernel.finish(*map(done, steps), want=100)
    assert [row["running"] for row in await kernel.connection.fetch(written)] == [0, 0]
