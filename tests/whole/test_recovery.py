"""Nothing is lost: workers that die, stop, lose their database or block; and several on one database."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace

from tasker_host import StepContext, step_handler
from tasker_host.db.database import Database
from tests.support import chain, ended, plugin, results, run_to_end, running_host, submit

ROOT = Path(__file__).parents[2]
VICTIM = Path(__file__).with_name("victim.py")


@asynccontextmanager
async def victim(dsn: str) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, VICTIM, dsn, stdout=asyncio.subprocess.PIPE, cwd=ROOT, env={"PYTHONPATH": str(ROOT)}
    )
    assert process.stdout is not None
    try:
        assert await process.stdout.readline() == b"ready\n"
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def test_a_step_whose_worker_was_killed_is_finished_by_another_one(dsn):
    @step_handler("work")
    async def work(context: StepContext) -> int:
        return context.attempt

    async with victim(dsn) as process, running_host(dsn, plugin([work], [chain("one", "work")]), worker=False) as here:
        task = await submit(here, "one")
        assert process.stdout is not None
        assert await process.stdout.readline() == b"running\n"
        process.kill()
        await process.wait()
        async with running_host(dsn, plugin([work], [chain("one", "work")])) as other:
            (row,) = await ended(other, task)
    assert row["status"] == "complete"
    assert results(row) == {"work": 2}


async def test_a_step_that_a_stopping_worker_gives_back_has_not_used_an_attempt(dsn):
    begun = asyncio.Event()

    @step_handler("work")
    async def hangs() -> None:
        begun.set()
        await asyncio.Event().wait()

    @step_handler("work")
    async def works(context: StepContext) -> int:
        return context.attempt

    async with running_host(dsn, plugin([hangs], [chain("one", "work")]), worker__shutdown_grace_seconds=0) as first:
        task = await submit(first, "one")
        await begun.wait()
    async with running_host(dsn, plugin([works], [chain("one", "work")])) as second:
        (row,) = await ended(second, task)
    assert results(row) == {"work": 1}


async def test_a_worker_whose_database_answers_late_still_gives_back_its_steps(dsn, monkeypatch):
    begun, later = asyncio.Event(), 0.0

    @step_handler("work")
    async def hangs() -> None:
        begun.set()
        await asyncio.Event().wait()

    monkeypatch.setattr("tasker_host.worker.loop.time", SimpleNamespace(monotonic=lambda: time.monotonic() + later))
    made = plugin([hangs], [chain("one", "work")])
    async with running_host(dsn, made, worker__shutdown_grace_seconds=0) as host, host.database.acquire() as other:
        task = await submit(host, "one")
        await begun.wait()
        async with other.transaction():
            await other.execute("lock table pgmq.q_tests_queue in access exclusive mode")
            host.worker.wake()
            while not await other.fetchval("select exists (select from pg_locks where not granted)"):
                await asyncio.sleep(0.001)
            host.stop_claiming()
            later = 60.0
        await host.drained()
        row = await other.fetchrow("select state, attempts from tasker.steps where task_uuid = $1", task)
    assert tuple(row) == ("enqueued", 0)


async def test_a_stopping_worker_lets_running_steps_finish_and_begins_no_others(dsn):
    begun, go_on = asyncio.Event(), asyncio.Event()

    @step_handler("first")
    async def first() -> str:
        begun.set()
        await go_on.wait()
        return "finished"

    @step_handler("second")
    async def second() -> None:
        raise AssertionError("began while the worker was stopping")

    async with running_host(dsn, plugin([first, second], [chain("two", "first", "second")])) as host:
        task = await submit(host, "two")
        await begun.wait()
        host.stop_claiming()
        go_on.set()
        await host.drained()
    database = Database(dsn)
    await database.open()
    rows = await database.fetch("select name, state from tasker.steps where task_uuid = $1 order by position", task)
    await database.close()
    assert [tuple(row) for row in rows] == [("first", "complete"), ("second", "enqueued")]


async def test_two_workers_share_the_work_and_run_every_step_once(dsn):
    ran: Counter[str] = Counter()
    met = threading.Barrier(2, timeout=20)
    who: set[str] = set()

    def handlers(name: str) -> object:
        @step_handler("meet")
        def meet(context: StepContext) -> str:
            ran[f"{context.task_uuid}"] += 1
            if name not in who:
                # Both must be at work before either goes on.
                who.add(name)
                met.wait()
            return name

        return meet

    async with (
        running_host(
            dsn, plugin([handlers("a")], [chain("one", "meet")]), worker__slots=2, worker__thread_slots=1
        ) as a,
        running_host(dsn, plugin([handlers("b")], [chain("one", "meet")]), worker__slots=2, worker__thread_slots=1),
    ):
        tasks = [await submit(a, "one", {"number": number}) for number in range(20)]
        rows = await ended(a, *tasks)
    assert {row["status"] for row in rows} == {"complete"}
    assert {results(row)["meet"] for row in rows} == {"a", "b"}
    assert set(ran.values()) == {1}
    assert len(ran) == 20


async def test_a_handler_that_blocks_the_loop_does_not_lose_its_lease(dsn):
    runs: list[int] = []

    @step_handler("block")
    async def block(context: StepContext) -> int:
        runs.append(context.attempt)
        threading.Event().wait(2.5)  # nothing else of this loop runs meanwhile
        return context.attempt

    made = plugin([block], [chain("one", "block")])
    taken_over = plugin([block], [chain("one", "block")])
    other_loop_ended = threading.Event()
    stop_other = threading.Event()

    async def other() -> None:
        async with running_host(dsn, taken_over, worker__lease_seconds=1):
            await asyncio.to_thread(stop_other.wait)
        other_loop_ended.set()

    async with running_host(dsn, made, worker__lease_seconds=1) as host:
        task = await submit(host, "one")
        thread = threading.Thread(target=lambda: asyncio.run(other()))
        thread.start()
        (row,) = await ended(host, task)
        stop_other.set()
        await asyncio.to_thread(thread.join)
    assert runs == [1]
    assert results(row) == {"block": 1}


async def test_a_worker_whose_connections_are_cut_reconnects_and_reports(dsn):
    begun, go_on = asyncio.Event(), asyncio.Event()

    @step_handler("work")
    async def work(context: StepContext) -> int:
        begun.set()
        await go_on.wait()
        return context.attempt

    @step_handler("after")
    async def after() -> str:
        return "went on"

    database = Database(dsn)
    await database.open()
    async with running_host(dsn, plugin([work, after], [chain("two", "work", "after")])) as host:
        task = await submit(host, "two")
        await begun.wait()
        cut = await database.fetchval(
            "select count(pg_terminate_backend(pid)) from pg_stat_activity"
            " where datname = current_database() and application_name like 'tasker %' and pid <> pg_backend_pid()"
            " and application_name <> 'tasker host'"
        )
        assert cut >= 3
        go_on.set()
        (row,) = await ended(host, task)
    await database.close()
    assert results(row) == {"work": 1, "after": "went on"}


async def test_a_step_without_a_handler_here_is_left_to_the_host_that_has_one(dsn):
    @step_handler("here")
    async def here() -> str:
        return "here"

    @step_handler("there")
    async def there() -> str:
        return "there"

    both = chain("two", "here", "there")
    async with (
        running_host(dsn, plugin([here, there], [both])) as full,
        running_host(dsn, plugin([here], [chain("other", "here")])) as partial,
    ):
        rows = await ended(full, *[await submit(full, "two", {"number": number}) for number in range(10)])
        assert {row["status"] for row in rows} == {"complete"}
        assert results(await run_to_end(partial, "other")) == {"here": "here"}


async def test_a_task_keeps_the_content_it_was_made_from_when_the_template_changes(dsn):
    begun, go_on = asyncio.Event(), asyncio.Event()

    @step_handler("first")
    async def first() -> str:
        begun.set()
        await go_on.wait()
        return "old"

    @step_handler("second")
    async def second() -> str:
        return "old too"

    async with running_host(dsn, plugin([first, second], [chain("t", "first", "second")])) as old:
        task = await submit(old, "t")
        await begun.wait()
        async with running_host(dsn, plugin([first], [chain("t", "first")])) as new:
            go_on.set()
            (row,) = await ended(old, task)
            again = await run_to_end(new, "t", {"again": True})
    assert [step["name"] for step in row["steps"]] == ["first", "second"]
    assert row["status"] == "complete"
    assert [step["name"] for step in again["steps"]] == ["first"]
