"""What an operator holds or lets go on is not ended for its age."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.db.conftest import Kernel, failed
from tests.db.test_sweep import MINUTE, NOW, submitted, sweep, template

DAY = timedelta(days=1)


@pytest.fixture
async def kernel(new_kernel) -> Kernel:
    kernel = await new_kernel()
    await kernel.clock(NOW)
    return kernel


async def test_a_task_that_was_repaired_after_its_lifetime_gets_it_again(kernel):
    task = await submitted(kernel, await template(kernel, max_steps_in_process_minutes=10_000))
    (step,) = (await kernel.claim()).steps
    await kernel.finish(failed(step))
    await kernel.clock(NOW + DAY - MINUTE)
    await sweep(kernel)
    await kernel.repair("reset_for_retry", step.step_uuid)
    await kernel.claim()
    await kernel.clock(NOW + 2 * DAY - 2 * MINUTE)
    assert await sweep(kernel) == []
    await kernel.clock(NOW + 2 * DAY - MINUTE)
    assert [(row["task_uuid"], row["reason"]) for row in await sweep(kernel)] == [(task, "staleness_timeout")]


async def test_a_task_that_was_paused_beyond_its_lifetime_gets_it_again(kernel):
    task = await submitted(kernel, await template(kernel))
    await kernel.operate("pause", task)
    await kernel.clock(NOW + 3 * DAY)
    assert await sweep(kernel) == []
    await kernel.operate("resume", task)
    await kernel.clock(NOW + 4 * DAY - MINUTE)
    assert await sweep(kernel) == []
    await kernel.clock(NOW + 4 * DAY)
    assert [row["task_uuid"] for row in await sweep(kernel)] == [task]


@pytest.mark.parametrize("key", ["namespace:tests", "handler:a"])
async def test_what_waits_for_what_is_paused_is_not_stale_however_long(kernel, key):
    task = await submitted(kernel, await template(kernel))
    await kernel.connection.execute("update tasker.template_rules set handler = name")
    await kernel.limit(key, paused=True)
    assert (await kernel.claim()).steps == []
    await kernel.clock(NOW + 3 * DAY)
    assert await sweep(kernel) == []
    assert await sweep(kernel, served=None) == []
    await kernel.limit(key)
    await kernel.clock(NOW + 4 * DAY - MINUTE)
    assert await sweep(kernel) == []
    await kernel.clock(NOW + 4 * DAY)
    assert [row["task_uuid"] for row in await sweep(kernel)] == [task]


async def test_another_change_of_a_limit_gives_no_further_life(kernel):
    task = await submitted(kernel, await template(kernel))
    await kernel.clock(NOW + DAY - MINUTE)
    await kernel.limit("namespace:tests", 7)
    await kernel.clock(NOW + DAY)
    assert [row["task_uuid"] for row in await sweep(kernel)] == [task]
