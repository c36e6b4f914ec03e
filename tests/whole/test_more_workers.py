"""Workers that somebody starts beside the host's own, and single steps that somebody runs."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import pytest

from tasker_host import (
    Checkpoint,
    PermanentError,
    RetryableError,
    StepContext,
    hookimpl,
    step_handler,
)
from tasker_host.domain.ids import uuid7
from tasker_host.errors import IllegalMove, InvalidRequest, LeaseLost, StepNotFound, TemplateUnavailable
from tests.support import chain, ended, plugin, results, running_host, submit


@step_handler("first")
async def first(context: StepContext) -> Any:
    return context.input


@step_handler("second")
async def second(context: StepContext) -> Any:
    return context.dependencies["first"]


TWO = plugin([first, second], [chain("two", "first", "second")])


async def step_of(host: Any, task: UUID, name: str = "first") -> UUID:
    found: UUID = await host.database.fetchval(
        "select step_uuid from tasker.steps where task_uuid = $1 and name = $2", task, name
    )
    return found


async def states(host: Any, task: UUID) -> dict[str, str]:
    rows = await host.database.fetch("select name, state from tasker.steps where task_uuid = $1", task)
    return {row["name"]: row["state"] for row in rows}


async def test_a_worker_may_be_started_on_a_host_without_one_and_ends_when_it_is_told_to(dsn):
    async with running_host(dsn, TWO, worker=False) as host:
        task = await submit(host, "two", {"n": 1})
        async with host.start_worker(slots=3, worker_id="mine") as worker:
            (row,) = await ended(host, task)
            assert results(row)["second"] == {"n": 1}
            known = await host.database.fetch("select worker, name, slots from tasker.workers")
            assert [tuple(one) for one in known] == [(worker.id, "mine", 3)]
            assert worker.id.startswith("mine-")
        assert await host.database.fetchval("select count(*) from tasker.workers") == 0
        later = await submit(host, "two", {"n": 2})
        assert (await states(host, later))["first"] == "enqueued"
        await worker.stop()  # once more does no harm


async def test_a_worker_that_is_left_running_ends_with_its_host_and_before_what_its_handlers_use(dsn):
    happened: list[str] = []

    @step_handler("slow")
    async def slow() -> None:
        happened.append("begins")
        await asyncio.sleep(0.05)
        happened.append("ends")

    given = plugin([slow], [chain("one", "slow")])

    @hookimpl
    @asynccontextmanager
    async def tasker_lifespan(host: Any) -> Any:
        happened.append("opened")
        yield
        happened.append("closed")

    given.tasker_lifespan = tasker_lifespan  # type: ignore[attr-defined]
    async with running_host(dsn, given, worker=False) as host:
        task = await submit(host, "one")
        worker = host.start_worker()
        async with asyncio.timeout(10):
            while "begins" not in happened:
                await asyncio.sleep(0)
        host.stop_claiming()
    assert happened == ["opened", "begins", "ends", "closed"]
    await worker.join()
    assert task


async def test_several_workers_of_a_host_share_its_work(dsn):
    ran: set[str] = set()
    both = asyncio.Event()

    @step_handler("meet")
    async def meet(context: StepContext) -> None:
        ran.add(str(context.step_uuid))
        if len(ran) == 4:
            both.set()
        await both.wait()

    async with running_host(dsn, plugin([meet], [chain("one", "meet")]), worker__slots=2) as host:
        host.start_worker(slots=2)
        # Four steps meet, of which each worker has room for two.
        await ended(host, *[await submit(host, "one", {"n": n}) for n in range(4)])
    assert len(ran) == 4


@pytest.mark.parametrize(
    ("asked", "problem"),
    [
        ({"slots": 0}, "slots must be 1 or more"),
        ({"namespaces": ["nowhere"]}, "there are: tests"),
        ({"namespaces": []}, "none"),
    ],
)
async def test_a_worker_that_could_do_nothing_is_refused(dsn, asked, problem):
    async with running_host(dsn, TWO, worker=False) as host:
        with pytest.raises(InvalidRequest, match=problem):
            host.start_worker(**asked)


async def test_one_step_is_run_here_and_its_successor_is_left_to_others(dsn):
    async with running_host(dsn, TWO, worker=False) as host:
        task = await submit(host, "two", {"n": 7})
        assert await host.run_one(await step_of(host, task)) == {"n": 7}
        assert await states(host, task) == {"first": "complete", "second": "enqueued"}
        assert await host.run_one(await step_of(host, task, "second")) == {"n": 7}
        assert await host.database.fetchval("select state from tasker.tasks") == "complete"


async def test_a_step_that_cannot_be_taken_says_why(dsn):
    async with running_host(dsn, TWO, worker=False) as host:
        task = await submit(host, "two")
        step = await step_of(host, task)
        with pytest.raises(StepNotFound, match="no step"):
            await host.run_one(uuid7())
        with pytest.raises(IllegalMove, match="depends on are not complete"):
            await host.run_one(await step_of(host, task, "second"))
        await host.database.fetch("select tasker.limit_set('handler:first', 0, null, 1, false, 'test', 'none')")
        with pytest.raises(IllegalMove, match="no room under its limits"):
            await host.run_one(step)
        await host.database.fetch("select tasker.limit_set('handler:first', null, null, 1, false, 'test', 'none')")
        await host.database.fetch("select tasker.tasks_operate('pause', array[$1::uuid], 'test', 'now', '{}')", task)
        with pytest.raises(IllegalMove, match="resume"):
            await host.run_one(step)
        assert await host.database.fetchval("select sum(attempts) from tasker.steps") == 0


async def test_a_step_that_no_handler_here_serves_is_refused_and_left(dsn):
    async with running_host(dsn, TWO, worker=False) as host:
        step = await step_of(host, await submit(host, "two"))
    async with running_host(dsn, plugin([second]), worker=False) as other:
        with pytest.raises(TemplateUnavailable, match="no handler here"):
            await other.run_one(step)
        assert await other.database.fetchval("select state from tasker.steps where step_uuid = $1", step) == "enqueued"


@pytest.mark.parametrize(
    ("error", "state"),
    [(RetryableError("later", error_code="E1"), "waiting_for_retry"), (PermanentError("no"), "error")],
)
async def test_what_a_handler_raises_is_raised_and_stored(dsn, error, state):
    @step_handler("fail")
    async def fail() -> None:
        raise error

    async with running_host(dsn, plugin([fail], [chain("one", "fail")]), worker=False) as host:
        task = await submit(host, "one")
        with pytest.raises(type(error), match=str(error)) as raised:
            await host.run_one(await step_of(host, task, "fail"))
        assert raised.value.error_code == error.error_code
        assert await states(host, task) == {"fail": state}


async def test_a_step_that_was_lost_meanwhile_is_not_taken_for_done(dsn):
    async with running_host(dsn, plugin([]), worker=False) as looking:

        @step_handler("lose")
        async def lose(context: StepContext) -> None:
            await looking.database.fetch(
                "update tasker.steps set worker = 'another' where step_uuid = $1", context.step_uuid
            )

        async with running_host(dsn, plugin([lose], [chain("one", "lose")]), worker=False) as host:
            step = await step_of(host, await submit(host, "one"), "lose")
            with pytest.raises(LeaseLost, match="not accepted"):
                await host.run_one(step)


async def test_a_step_that_saves_how_far_it_came_goes_on_to_its_end(dsn):
    @step_handler("walk")
    async def walk(context: StepContext) -> Any:
        at = 0 if context.checkpoint is None else context.checkpoint["cursor"]
        return Checkpoint(at + 1, at + 1) if at < 3 else at

    async with running_host(dsn, plugin([walk], [chain("one", "walk")]), worker=False) as host:
        task = await submit(host, "one")
        assert await host.run_one(await step_of(host, task, "walk")) == 3
        assert await host.database.fetchval("select attempts from tasker.steps") == 1
