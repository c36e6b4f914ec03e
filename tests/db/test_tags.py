"""Tags: a worker with tags takes steps that ask for a subset of them; a worker without takes everything."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tasker_host.db.kernel import Taker
from tasker_host.domain.ids import WorkerId
from tests.db.conftest import LEASE, Kernel, done, failed, released
from tests.db.test_cost import pages

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)
ONE = {"a": []}


@pytest.fixture
async def kernel(new_kernel) -> Kernel:
    kernel = await new_kernel()
    await kernel.clock(NOW)
    return kernel


async def tagged(kernel: Kernel) -> dict[str, object]:
    """A task for each set of tags, the oldest first."""
    one = await kernel.template(ONE)
    await kernel.connection.execute("select tasker.queue_lanes('tests')")
    made = {}
    for number, tags in enumerate(["gpu,eu", "gpu", "", "us"]):
        await kernel.clock(NOW + number * SECOND)
        (made[tags],), _ = await kernel.submit(one, tags=tags.split(",") if tags else ())
    return made


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        (None, ["gpu,eu", "gpu", "", "us"]),
        (["gpu"], ["gpu", ""]),
        (["eu", "gpu", "more"], ["gpu,eu", "gpu", ""]),
        (["us"], ["", "us"]),
        (["other"], [""]),
    ],
)
async def test_which_steps_a_worker_takes(kernel, tags, expected):
    tasks = await tagged(kernel)
    taken = (await kernel.claim(tags=tags)).steps
    assert {step.task_uuid for step in taken} == {tasks[name] for name in expected}


async def test_tags_of_the_template_the_request_and_the_step_are_asked_for_together(kernel):
    template = await kernel.template({"a": [], "b": ["a"]}, steps={"b": {"tags": ["gpu"]}})
    await kernel.submit(template, tags=["eu"])
    (a,) = (await kernel.claim(tags=["eu"])).steps
    assert (await kernel.finish(done(a), want=5, tags=["eu"])).steps == []
    assert (await kernel.claim(tags=["gpu"])).steps == []
    (b,) = (await kernel.claim(tags=["gpu", "eu"])).steps
    assert b.name == "b"


async def test_what_comes_due_for_others_is_left_to_them_and_costs_no_attempt(kernel):
    await kernel.submit(await kernel.template(ONE), tags=["gpu"])
    (step,) = (await kernel.claim(tags=["gpu"])).steps
    await kernel.finish(failed(step, retry_after=SECOND))
    await kernel.clock(NOW + SECOND)
    assert (await kernel.claim("eu", tags=["eu"])).steps == []
    (again,) = (await kernel.claim("gpu", tags=["gpu"])).steps
    assert again.attempt == 2
    await kernel.clock(NOW + SECOND * 60)
    assert (await kernel.claim("eu", tags=["eu"])).steps == []
    (third,) = (await kernel.claim("gpu2", tags=["gpu"])).steps
    assert third.attempt == 3


async def test_the_first_steps_of_a_new_task_are_given_only_to_a_worker_that_may_take_them(kernel):
    one = await kernel.template(ONE)
    taker = Taker(WorkerId("eu"), ["tests"], 1, LEASE, tags=["eu"])
    _, submitted = await kernel.submit(one, tags=["gpu"], taker=taker)
    assert submitted.steps == []
    _, submitted = await kernel.submit(one, tags=["eu"], taker=taker)
    assert len(submitted.steps) == 1


async def test_steps_for_others_are_not_even_looked_at(kernel):
    one = await kernel.template(ONE)
    await kernel.connection.execute("select tasker.queue_lanes('tests')")
    await kernel.submit(one, 2, tags=["gpu"])
    call = "tasker.steps_claim('w', array['tests'], 1, $1, array['eu'])"
    await pages(kernel, call, LEASE)
    before = await pages(kernel, call, LEASE)
    for _ in range(20):
        await kernel.submit(one, 500, tags=["gpu"])
    await kernel.connection.execute("vacuum analyze pgmq.q_tests_queue")
    await pages(kernel, call, LEASE)
    assert await pages(kernel, call, LEASE) <= before + 20


async def test_steps_with_more_priority_of_their_own_go_first(kernel):
    template = await kernel.template({"a": [], "b": ["a"], "c": ["a"]}, steps={"c": {"priority": 5}})
    (task,), _ = await kernel.submit(template)
    await kernel.finish(done((await kernel.claim()).steps[0]))
    taken = [(await kernel.claim(want=1)).steps[0].name for _ in range(2)]
    assert taken == ["c", "b"]
    assert task is not None


async def test_a_step_given_back_keeps_its_tags(kernel):
    await kernel.submit(await kernel.template(ONE), tags=["gpu"])
    (step,) = (await kernel.claim(tags=["gpu"])).steps
    await kernel.finish(released(step))
    assert (await kernel.claim(tags=["eu"])).steps == []
    assert len((await kernel.claim(tags=["gpu"])).steps) == 1
