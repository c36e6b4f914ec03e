"""A handler that keeps the interpreter (the GIL) for itself: what becomes of its lease and of its neighbours'."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID

import pytest

from tasker_host import StepContext, step_handler
from tasker_host.host import Host
from tests.support import ended, plugin, results, running_host, submit
from tests.whole.holder import TEMPLATES

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks at processes in /proc")

ROOT = Path(__file__).parents[2]
HOLDER = Path(__file__).with_name("holder.py")


class Holder:
    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    async def said(self, word: str) -> None:
        assert self.process.stdout is not None
        async with asyncio.timeout(20):
            while not (line := await self.process.stdout.readline()).startswith(word.encode()):
                assert line, f"ended without saying {word!r}"  # other lines are the log

    def guard(self) -> int | None:
        """The pid of the process beside it that looks after its leases."""
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                if parent == self.process.pid and b"guard.py" in (entry / "cmdline").read_bytes():
                    return int(entry.name)
            except OSError:
                continue
        return None


@asynccontextmanager
async def holder(dsn: str, max_blocked_seconds: float = 60) -> AsyncIterator[Holder]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, HOLDER, dsn, str(max_blocked_seconds)),
        stdout=asyncio.subprocess.PIPE,
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT)},
    )
    made = Holder(process)
    try:
        await made.said("ready")
        yield made
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGCONT)
            process.kill()
        await process.wait()


@step_handler("hold")
async def take_hold(context: StepContext) -> str:
    return f"taken over in attempt {context.attempt}"


@step_handler("neighbour")
async def take_neighbour(context: StepContext) -> str:
    return f"taken over in attempt {context.attempt}"


TAKER = plugin([take_hold, take_neighbour], TEMPLATES)


@asynccontextmanager
async def other_host(dsn: str) -> AsyncIterator[Host]:
    """One that takes over whatever it can."""
    async with running_host(dsn, TAKER, worker__lease_seconds=1) as host:
        yield host


async def begun(dsn: str, made: Holder, seconds: int) -> tuple[UUID, UUID]:
    """A task that keeps the interpreter of `made`, and its neighbour, which was running there before."""
    async with running_host(dsn, TAKER, worker=False) as here:
        beside = await submit(here, "beside")
        while (await here.database.fetchval("select state from tasker.steps")) != "in_progress":
            await asyncio.sleep(0.01)
        holding = await submit(here, "holding", {"seconds": seconds})
        await made.said("holding")
    return holding, beside


async def test_a_handler_that_holds_the_interpreter_keeps_its_lease_and_its_neighbours(dsn):
    async with holder(dsn) as made:
        tasks = await begun(dsn, made, 4)
        async with other_host(dsn) as other:
            one, beside = await ended(other, *tasks)
            rows = await other.database.fetch(
                "select distinct reason from tasker.step_history where reason is not null"
            )
    assert (results(one), results(beside)) == ({"hold": 1}, {"neighbour": 1})
    assert rows == []


async def test_a_worker_that_is_blocked_is_shown_as_such(dsn):
    async with holder(dsn) as made:
        await begun(dsn, made, 60)
        async with other_host(dsn) as other, asyncio.timeout(20):
            while "blocked" not in [r["state"] for r in await other.database.fetch("select state from tasker.workers")]:
                await asyncio.sleep(0.05)


def kill(made: Holder) -> None:
    made.process.kill()


def stop(made: Holder) -> None:
    made.process.send_signal(signal.SIGSTOP)


@pytest.mark.parametrize("end", [kill, stop])
async def test_a_process_that_is_dead_or_stopped_loses_its_leases_within_the_lease(dsn, end: Callable[[Holder], None]):
    async with holder(dsn) as made:
        tasks = await begun(dsn, made, 60)
        guard = made.guard()
        async with other_host(dsn) as other:
            assert guard is not None
            end(made)
            before = time.monotonic()
            rows = await ended(other, *tasks)
            took = time.monotonic() - before
    assert [set(results(row).values()) for row in rows] == [{"taken over in attempt 2"}] * 2
    assert took < 2.5  # a lease, and what a busy machine adds
    async with asyncio.timeout(10):
        while Path(f"/proc/{guard}").exists() and Path(f"/proc/{guard}/cmdline").read_bytes():
            await asyncio.sleep(0.02)


async def test_leases_of_a_blocked_worker_are_kept_for_a_while_only(dsn):
    async with holder(dsn, max_blocked_seconds=2) as made:
        tasks = await begun(dsn, made, 60)
        async with other_host(dsn) as other:
            before = time.monotonic()
            rows = await ended(other, *tasks)
            took = time.monotonic() - before
    assert [set(results(row).values()) for row in rows] == [{"taken over in attempt 2"}] * 2
    assert 1.5 < took < 5


async def test_a_guard_that_was_killed_is_replaced(dsn):
    async with holder(dsn) as made:
        first = made.guard()
        assert first is not None
        os.kill(first, signal.SIGKILL)
        async with asyncio.timeout(20):
            while made.guard() in {None, first}:
                await asyncio.sleep(0.05)
        tasks = await begun(dsn, made, 3)
        async with other_host(dsn) as other:
            rows = await ended(other, *tasks)
    assert [set(results(row).values()) for row in rows] == [{1}, {1}]
