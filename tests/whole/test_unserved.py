"""Steps that nobody serves hold up none of those that somebody does."""

from __future__ import annotations

from uuid import uuid4

import pytest

from tasker_host import step_handler
from tasker_host.db.kernel import Claimed
from tasker_host.domain.ids import WorkerId
from tasker_host.domain.request import request_from_data
from tasker_host.worker.unserved import Unserved
from tests.support import chain, ended, plugin, running_host, submit

WAITING = 2000
"""More than one slot puts away in the second for which a step is kept from it."""


@step_handler("foreign")
async def foreign() -> None: ...


@step_handler("served")
async def served() -> str:
    return "done"


BOTH = plugin([foreign, served], [chain("foreign", "foreign"), chain("served", "served")])
ONE = plugin([served], [chain("served", "served")])


async def test_thousands_that_nobody_serves_do_not_block_what_is_behind_them(dsn):
    requests = [
        request_from_data({"namespace": "tests", "name": "foreign", "priority": 100, "context": {"n": n}})
        for n in range(WAITING)
    ]
    async with running_host(dsn, BOTH, worker=False) as other:
        await other.submissions.submit_many(requests)
        async with running_host(dsn, ONE, worker__slots=1) as host:
            for n in range(3):  # from elsewhere: through the queue, behind the others
                (row,) = await ended(host, await submit(other, "served", {"n": n}))
                assert row["status"] == "complete"
            unserved = await host.database.fetchval("select count(*) from tasker.steps where state = 'enqueued'")
            assert unserved == WAITING


def step() -> Claimed:
    nothing = dict.fromkeys(Claimed._fields)
    return Claimed(**{**nothing, "step_uuid": uuid4(), "template_id": 1, "template_step": "a", "namespace": "tests"})


@pytest.mark.parametrize(("slots", "apart"), [(1, 0.02), (10, 0.002), (200, 0.001)])
def test_they_come_back_one_after_the_other_a_minute_later_at_most(slots, apart):
    now = [100.0]
    unserved = Unserved(WorkerId("w"), slots, clock=lambda: now[0])
    assert not unserved
    waits = [unserved.leave(step()).total_seconds() for _ in range(3)]
    assert waits == pytest.approx([1.0, 1.0 + apart, 1.0 + 2 * apart])
    assert unserved.steps == [(1, "a")]
    for _ in range(round(60 / apart)):
        last = unserved.leave(step()).total_seconds()
    assert last == 60.0
    now[0] += 120
    assert unserved.leave(step()).total_seconds() == 1.0
