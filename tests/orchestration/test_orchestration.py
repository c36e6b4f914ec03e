"""Submitting, finding templates and waiting."""

from __future__ import annotations

import asyncio
from uuid import UUID

import pytest

from tasker_host import step_handler
from tasker_host.domain.request import request_from_data
from tasker_host.errors import InvalidRequest, TaskExists, TemplateNotFound, TemplateUnavailable
from tests.support import chain, ended, plugin, results, run_to_end, running_host, submit

SCHEMA = "\ninput_schema: {type: object, properties: {n: {type: integer}}, required: [n]}"


@step_handler("work")
async def work() -> str:
    return "done"


def request(name: str = "one", **more: object):
    return request_from_data({"namespace": "tests", "name": name, **more})


async def test_many_requests_are_answered_each_in_its_place(dsn):
    made = plugin([work], [chain("one", "work") + SCHEMA, chain("lacking", "nobody")])
    async with running_host(dsn, made) as host:
        answers = await host.submissions.submit_many(
            [
                request(context={"n": 1}),
                request(context={"n": "1"}),
                request(context={"n": 1}),
                request("nothing"),
                request("lacking"),
                request(context={"n": 2}),
            ]
        )
        assert [type(answer) for answer in answers] == [
            UUID, InvalidRequest, TaskExists, TemplateNotFound, TemplateUnavailable, UUID,
        ]  # fmt: skip
        rows = await ended(host, answers[0], answers[-1])
    assert [row["context"] for row in rows] == [{"n": 1}, {"n": 2}]


async def test_more_requests_than_one_call_takes_are_all_written_and_run(dsn):
    async with running_host(dsn, plugin([work], [chain("one", "work")])) as host:
        answers = await host.submissions.submit_many([request(context={"n": n}) for n in range(1100)])
        assert all(isinstance(answer, UUID) for answer in answers)
        await host.watch.settled(answers, timeout_seconds=60)
        done = await host.database.fetchval("select count(*) from tasker.tasks where state = 'complete'")
    assert done == 1100


async def test_what_the_database_refuses_takes_no_neighbour_along(dsn):
    # A template that this host does not have any more, as another one removed it.
    async with running_host(dsn, plugin([work], [chain("one", "work")]), worker=False) as host:
        await host.database.fetch("alter table tasker.tasks add constraint no_reason check (reason <> 'forbidden')")
        answers = await host.submissions.submit_many(
            [request(context={"n": 1}), request(context={"n": 2}, reason="forbidden"), request(context={"n": 3})]
        )
    assert [type(answer) for answer in answers] == [UUID, InvalidRequest, UUID]


async def test_a_template_of_another_host_can_be_submitted_by_name(dsn):
    async with (
        running_host(dsn, plugin([work], [chain("theirs", "work")])) as theirs,
        running_host(dsn, plugin([], [])) as ours,
    ):
        task = await submit(ours, "theirs")
        (row,) = await ended(ours, task)
        assert results(row) == {"work": "done"}
        assert theirs.worker is not None
        assert theirs.worker.counts.succeeded == 1


async def test_waiting_for_a_task_that_ended_long_ago_returns(dsn):
    async with running_host(dsn, plugin([work], [chain("one", "work")])) as host:
        row = await run_to_end(host, "one")
        await host.watch.settled([row["task_uuid"]], timeout_seconds=5)
        await host.watch.settled([], timeout_seconds=5)
        assert host.watch.waiting == 0


async def test_waiting_gives_up_at_its_timeout_and_forgets(dsn):
    async with running_host(dsn, plugin([work], [chain("one", "work")]), worker=False) as host:
        task = await submit(host, "one")
        with pytest.raises(TimeoutError):
            await host.watch.settled([task], timeout_seconds=0.05)
        assert host.watch.waiting == 0


async def test_many_may_wait_for_the_same_task(dsn):
    go_on = asyncio.Event()

    @step_handler("wait")
    async def wait() -> None:
        await go_on.wait()

    async with running_host(dsn, plugin([wait], [chain("one", "wait")])) as host:
        task = await submit(host, "one")
        waits = [asyncio.create_task(host.watch.settled([task], timeout_seconds=20)) for _ in range(3)]
        while not host.watch.waiting:
            await asyncio.sleep(0)
        go_on.set()
        await asyncio.gather(*waits)


@pytest.mark.parametrize("mode", ["hybrid", "event_driven", "polling"])
async def test_every_mode_notices_work_that_another_host_submits(dsn, mode):
    made = plugin([work], [chain("one", "work")])
    async with (
        running_host(dsn, made, worker__mode=mode, worker__poll_interval_seconds=0.05) as worker,
        running_host(dsn, made, worker=False) as submitter,
    ):
        for number in range(3):
            task = await submit(submitter, "one", {"n": number})
            await ended(submitter, task)
        assert worker.worker.counts.succeeded == 3


async def test_a_bell_wakes_a_worker_long_before_its_poll(dsn):
    made = plugin([work], [chain("one", "work")])
    async with (
        running_host(dsn, made, worker__poll_interval_seconds=3600),
        running_host(dsn, made, worker=False, worker__poll_interval_seconds=3600) as submitter,
    ):
        for number in range(20):
            await ended(submitter, await submit(submitter, "one", {"n": number}), timeout_seconds=10)


async def test_a_template_whose_content_changes_is_found_with_its_new_content(dsn):
    @step_handler("other")
    async def other() -> str:
        return "new"

    async with running_host(dsn, plugin([work, other], [chain("t", "work")])) as host:
        assert results(await run_to_end(host, "t", {"n": 1})) == {"work": "done"}
    async with running_host(dsn, plugin([work, other], [chain("t", "other")])) as host:
        assert results(await run_to_end(host, "t", {"n": 2})) == {"other": "new"}
