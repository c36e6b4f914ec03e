"""Steps whose templates ask for leases of their own."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tasker_host import step_handler
from tests.support import ended, plugin, running_host, submit, template

ONE = """
name: one
namespace_name: tests
version: 1.0.0
steps:
  - {name: work, handler: {callable: work}, lease_seconds: %s}
"""

LEFT = """
select extract(epoch from q.vt - clock_timestamp())::float8 from pgmq.q_tests_queue q
join tasker.steps s on s.msg_id = q.msg_id where s.state = 'in_progress'
"""


async def until(host: Any, holds: Any) -> float:
    """How long the lease still lasts, as soon as that is so."""
    async with asyncio.timeout(20):
        while (left := await host.database.fetchval(LEFT)) is None or not holds(left):
            await asyncio.sleep(0.01)  # between two looks
    seconds: float = left
    return seconds


async def test_a_step_is_leased_for_as_long_as_its_template_says_and_renewed(dsn):
    done = asyncio.Event()

    @step_handler("work")
    async def work() -> None:
        await done.wait()

    for lease, about in ((600, (590, 601)), (2, (0, 2.1))):
        done.clear()
        async with running_host(dsn, plugin([work], [ONE % lease])) as host:
            task = await submit(host, "one", {"lease": lease})
            await until(host, lambda left, about=about: about[0] < left < about[1])
            if lease == 2:
                await until(host, lambda left: left < 1.2)
                assert await until(host, lambda left: left > 1.5) < 2.1
            done.set()
            (row,) = await ended(host, task)
            assert (row["status"], row["steps"][0]["attempts"]) == ("complete", 1)


@pytest.mark.parametrize("given", ["0", "0.5", "86401", "long"])
def test_a_lease_that_makes_no_sense_is_refused(given):
    with pytest.raises(Exception, match="lease_seconds"):
        template(ONE % given)
