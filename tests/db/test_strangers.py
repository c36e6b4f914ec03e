"""What other PGMQ clients put into a queue, and several namespaces that share a worker."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tests.db.conftest import done

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ONE = {"only": []}


@pytest.mark.parametrize(
    ("message", "headers"),
    [
        ('{"step_uuid": "banana"}', None),
        ('{"step_uuid": {"a": 1}}', None),
        ('{"step_uuid": "00000000-0000-0000-0000-00000000000G"}', '{"rank": 1}'),
        ('{"something": "else"}', '{"rank": 1}'),
        ("[1, 2]", None),
        ("null", '{"x-other": "rank"}'),
        ('"text"', None),
    ],
)
async def test_a_message_that_means_nothing_to_us_leaves_the_queue_and_holds_nothing_up(kernel, message, headers):
    (task,), _ = await kernel.submit(await kernel.template(ONE))
    await kernel.connection.execute("select pgmq.send('tests_queue', $1::jsonb, $2::jsonb)", message, headers)
    taken = await kernel.claim()
    assert [step.task_uuid for step in taken.steps] == [task]
    assert await kernel.messages() == 1
    await kernel.finish(done(taken.steps[0]), want=1)
    assert await kernel.messages() == 0


async def test_a_second_message_for_a_step_does_not_run_it_twice(kernel):
    await kernel.submit(await kernel.template(ONE))
    await kernel.connection.execute("select pgmq.send('tests_queue', message) from pgmq.q_tests_queue")
    assert len((await kernel.claim()).steps) == 1
    assert (await kernel.claim("other")).steps == []
    assert await kernel.messages() == 1


async def test_a_namespace_with_endless_work_does_not_starve_the_ones_after_it(kernel):
    busy = await kernel.template(ONE, namespace="busy")
    quiet = await kernel.template(ONE, namespace="quiet")
    for second, template in enumerate((busy, quiet, busy)):
        await kernel.clock(NOW + timedelta(seconds=second))
        await kernel.submit(template, 2)
    order = [(await kernel.claim("w", 2, "busy", "quiet")).steps[0].namespace for _ in range(3)]
    assert order == ["busy", "quiet", "busy"]


async def test_a_finish_takes_from_the_namespace_whose_work_is_oldest(kernel):
    template = {name: await kernel.template(ONE, namespace=name) for name in ("busy", "quiet")}
    for second, name in enumerate(("busy", "quiet", "busy")):
        await kernel.clock(NOW + timedelta(seconds=second))
        await kernel.submit(template[name])
    (step,) = (await kernel.claim("w", 1, "busy")).steps
    taken = await kernel.finish(done(step), want=1, namespaces=("busy", "quiet"))
    assert [step.namespace for step in taken.steps] == ["quiet"]
