"""Handlers that run in processes of their own."""

from __future__ import annotations

import asyncio
import importlib
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Annotated, Any

import pytest

from tasker_host import Input, PermanentError, StepContext, StepHandler, step_handler
from tasker_host.handlers.bound import bind
from tasker_host.plugins import Stage, load_plugins
from tests.support import chain, configured, ended, plugin, results, run_to_end, running_host, submit


@step_handler("who", runs_in="process")
def who(n: Annotated[int, Input("n")]) -> dict[str, Any]:
    print("what a handler prints disturbs nothing")
    return {"pid": os.getpid(), "n": n}


@step_handler("refuses", runs_in="process")
def refuses() -> None:
    raise PermanentError("no", error_code="NOT_TODAY", metadata={"why": "rain"})


@step_handler("refuses_with_a_lock", runs_in="process")
def refuses_with_a_lock() -> None:
    raise PermanentError("no", error_code="LOCKED", metadata={"lock": threading.Lock(), "why": "rain"})


@step_handler("dies", runs_in="process")
def dies(context: StepContext) -> str:
    if context.attempt == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return "alive"


@step_handler("hangs", runs_in="process")
def hangs() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    threading.Event().wait()  # for ever: nothing but the end of the process can stop it


class Counts(StepHandler):
    """Keeps its state in the process, as long as that lives."""

    handler_name = "counts"
    runs_in = "process"

    def __init__(self) -> None:
        self.calls = 0

    def call(self, context: StepContext) -> list[Any]:
        self.calls += 1
        return [self.calls, context.get_dependency_result("who")]


async def test_a_handler_runs_elsewhere_and_a_warm_process_is_used_again(dsn):
    async with running_host(dsn, plugin([who, Counts], [chain("t", "who", "counts")])) as host:
        first = results(await run_to_end(host, "t", {"n": 1}))
        second = results(await run_to_end(host, "t", {"n": 2}))
    assert first["who"]["pid"] == second["who"]["pid"] != os.getpid()
    assert (first["counts"], second["counts"]) == ([1, first["who"]], [2, second["who"]])


async def test_what_it_raises_is_the_failure_of_the_step(dsn):
    async with running_host(dsn, plugin([refuses], [chain("t", "refuses")])) as host:
        row = await run_to_end(host, "t")
    (step,) = row["steps"]
    assert (step["attempts"], step["error"]["message"], step["error"]["error_code"]) == (1, "no", "NOT_TODAY")


async def test_a_failure_that_carries_what_cannot_be_sent_is_told_all_the_same(dsn):
    async with running_host(dsn, plugin([refuses_with_a_lock], [chain("t", "refuses_with_a_lock")])) as host:
        row = await run_to_end(host, "t")
    (step,) = row["steps"]
    assert (step["attempts"], step["error"]["message"], step["error"]["error_code"]) == (1, "no", "LOCKED")


async def test_an_input_that_does_not_fit_is_told_as_anywhere(dsn):
    async with running_host(dsn, plugin([who], [chain("t", "who")])) as host:
        row = await run_to_end(host, "t", {"n": "many"})
    assert row["steps"][0]["error"]["error_code"] == "INPUT_INVALID"


async def test_a_process_that_dies_costs_an_attempt_of_its_own_step_only(dsn):
    async with running_host(dsn, plugin([dies, who], [chain("t", "dies", backoff="none"), chain("u", "who")])) as host:
        tasks = [await submit(host, "t"), await submit(host, "u", {"n": 1})]
        one, other = await ended(host, *tasks)
    assert (results(one), one["steps"][0]["attempts"]) == ({"dies": "alive"}, 2)
    assert other["steps"][0]["attempts"] == 1


async def test_a_handler_that_overruns_is_ended_with_its_process(dsn):
    text = chain("t", "hangs", max_attempts=1) + "\n    timeout_seconds: 0.2"
    async with running_host(dsn, plugin([hangs, who], [text, chain("u", "who")])) as host:
        row = await run_to_end(host, "t")
        (step,) = row["steps"]
        assert step["error"]["error_type"] == "timeout"
        assert step["error"]["message"] == "handler 'hangs' ran longer than 0.2 s"
        assert host.worker.abandoned_threads == 0
        assert (await run_to_end(host, "u", {"n": 1}))["status"] == "complete"


SLOW_TO_IMPORT = """
import time
from tasker_host import step_handler

time.sleep(0.6)

@step_handler("late_riser", runs_in="process")
def late_riser():
    return "up"
"""


async def test_the_time_of_a_handler_does_not_begin_before_its_process_is_up(dsn, tmp_path, monkeypatch):
    (tmp_path / "slow_to_import.py").write_text(SLOW_TO_IMPORT)
    monkeypatch.syspath_prepend(tmp_path)
    handler = importlib.import_module("slow_to_import").late_riser
    text = chain("t", "late_riser", max_attempts=1) + "\n    timeout_seconds: 0.5"
    async with running_host(dsn, plugin([handler], [text])) as host:
        assert results(await run_to_end(host, "t")) == {"late_riser": "up"}


async def test_no_process_is_left_when_the_host_ends(dsn):
    async with running_host(dsn, plugin([who], [chain("t", "who")])) as host:
        pid = results(await run_to_end(host, "t", {"n": 1}))["who"]["pid"]
    async with asyncio.timeout(5):
        while True:
            try:
                os.kill(pid, 0)
            except ProcessLookupError:
                break
            await asyncio.sleep(0)


def test_a_handler_that_no_other_process_can_find_is_a_fault_at_start_up(dsn):
    @step_handler("local", runs_in="process")
    def local() -> None:
        return None

    roster = load_plugins(configured(dsn), bind=bind, extra={"p": plugin([local])}, entry_points=False)
    (fault,) = roster.plugin("p").faults
    assert (fault.stage, fault.hook) == (Stage.COLLECT, "tasker_handlers")
    assert "runs_in is 'process', but another process cannot find it" in fault.error
    assert "at the top of a module that can be imported" in fault.error


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
async def test_nothing_is_left_when_the_host_is_killed_in_the_middle_of_a_handler(dsn):
    root = Path(__file__).parents[2]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, Path(__file__).with_name("parent.py"), dsn),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        cwd=root,
        env={"PYTHONPATH": str(root), "PATH": os.environ["PATH"]},
    )
    try:
        assert process.stderr is not None
        async with asyncio.timeout(20):
            while not (line := await process.stderr.readline()).startswith(b"pids"):
                assert line
        pids = [int(pid) for pid in line.split()[1:]]
        assert all(map(alive, pids))
    finally:
        process.kill()
        await process.wait()
    async with asyncio.timeout(5):
        while any(map(alive, pids)):
            await asyncio.sleep(0.01)


def alive(pid: int) -> bool:
    """Whether it is there, and not an orphan that nobody has waited for."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    return not (stat.exists() and stat.read_text().rpartition(")")[2].split()[0] == "Z")
