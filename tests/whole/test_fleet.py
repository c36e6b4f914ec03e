"""The living workers, and how busy they are."""

from __future__ import annotations

import asyncio
import os
import socket

import asyncpg
import pytest

from tasker_host import step_handler
from tasker_host.db.queries import workers_list
from tasker_host.errors import DatabaseUnavailable
from tests.support import chain, ended, plugin, run_to_end, running_host, submit


@step_handler("work")
async def work() -> None:
    return None


MADE = plugin([work], [chain("t", "work")])


async def alive(database, count):
    """The fleet, once it has so many members."""
    async with asyncio.timeout(10):
        while len(rows := await workers_list(database)) != count:
            await asyncio.sleep(0)
    return rows


async def test_a_worker_is_listed_while_it_lives(dsn, database):
    async with running_host(dsn, MADE, worker__tags=["eu"], worker__slots=7) as host:
        (row,) = await alive(database, 1)
        assert (row["worker"], row["host"], row["pid"]) == (host.worker.id, socket.gethostname(), os.getpid())
        assert (row["state"], row["slots"], row["running"], row["tags"], row["namespaces"]) == (
            "running", 7, 0, ["eu"], ["tests"],
        )  # fmt: skip
    assert await workers_list(database) == []


async def test_two_workers_of_the_same_name_are_never_mistaken_for_one_another(dsn, database):
    async with running_host(dsn, MADE, worker__id="one") as first, running_host(dsn, MADE, worker__id="one") as second:
        rows = await alive(database, 2)
        assert {row["name"] for row in rows} == {"one"}
        assert {row["worker"] for row in rows} == {first.worker.id, second.worker.id}
        assert first.worker.id != second.worker.id


async def test_a_worker_that_is_not_heard_of_is_lost_and_then_forgotten(dsn, database):
    how = "now(), '1 second', '0', 'running', 1, 0, 0, '{}', '{}', '[]'"
    beat = f"select tasker.worker_beat('gone', 'gone', 'h', 1, {how})"
    await database.fetch(beat)
    await database.fetch("update tasker.workers set seen_at = now() - interval '4 seconds'")
    assert [row["state"] for row in await workers_list(database)] == ["lost"]
    await database.fetch("update tasker.workers set seen_at = now() - interval '11 seconds'")
    await database.fetch(beat.replace("'gone', 'gone'", "'new', 'new'"))
    assert [row["worker"] for row in await workers_list(database)] == ["new"]


async def test_a_worker_says_which_steps_it_could_not_serve(dsn, database):
    @step_handler("else")
    async def other() -> None:
        return None

    lacking = plugin([other], [chain("u", "else")])
    async with (
        running_host(dsn, MADE, worker=False) as knows,
        running_host(dsn, lacking, worker__heartbeat_seconds=0.05),
    ):
        await submit(knows, "t")
        async with asyncio.timeout(10):
            while not (unserved := (await alive(database, 1))[0]["unserved"]):
                await asyncio.sleep(0)
        assert unserved == [{"template": "tests/t 1.0.0", "step": "work"}]


async def test_a_busy_worker_takes_only_what_follows_on_its_own_steps(dsn):
    gate, begun = asyncio.Event(), asyncio.Semaphore(0)

    @step_handler("waits")
    async def waits() -> None:
        begun.release()
        await gate.wait()

    made = plugin([waits, work], [chain("slow", "waits", "work")])
    async with running_host(dsn, made, worker__slots=10, worker__max_claim=1, worker__shed_percent=50) as host:
        tasks = [await submit(host, "slow", {"n": n}) for n in range(10)]
        for _ in range(5):
            await begun.acquire()
        await host.database.fetchval("select 1")
        assert (host.worker.running, host.worker.state) == (5, "shedding")
        gate.set()
        assert {row["status"] for row in await ended(host, *tasks)} == {"complete"}


async def test_slots_grow_with_what_runs(dsn):
    gate = asyncio.Event()

    @step_handler("waits")
    async def waits() -> None:
        await gate.wait()

    made = plugin([waits], [chain("slow", "waits")])
    settings = {"slots": 4, "min_slots": 2, "max_slots": 16, "shed_percent": 100}
    async with running_host(dsn, made, **{f"worker__{key}": value for key, value in settings.items()}) as host:
        tasks = [await submit(host, "slow", {"n": n}) for n in range(16)]
        async with asyncio.timeout(10):
            while host.worker.running < 16:
                host.worker.beat(0.0)
                await asyncio.sleep(0)
        assert host.worker.slots == 16
        gate.set()
        await ended(host, *tasks)
        for _ in range(40):
            host.worker.beat(0.0)
        assert host.worker.slots == 2


async def test_a_database_that_keeps_failing_is_left_alone_and_callers_are_told_at_once(dsn):
    # One failure: between two of them a call of the host's own loops may succeed.
    async with running_host(dsn, MADE, database__breaker_failures=1, database__breaker_open_seconds=60) as host:
        with pytest.raises(DatabaseUnavailable):
            async with host.database.acquire():
                raise asyncpg.ConnectionDoesNotExistError("cut")
        with pytest.raises(DatabaseUnavailable, match=r"has failed \d+ times in a row and is left alone for"):
            await host.database.fetchval("select 1")
        report = await host.health.report()
        (check,) = [check for check in report.checks if check.name == "database"]
        assert check.status == "unhealthy"


async def test_a_wrong_statement_says_nothing_against_the_database(dsn):
    async with running_host(dsn, MADE, database__breaker_failures=1) as host:
        with pytest.raises(asyncpg.UndefinedTableError):
            await host.database.fetch("select * from nothing")
        assert (await run_to_end(host, "t"))["status"] == "complete"
