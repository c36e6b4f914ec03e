"""`tasker run` as a process: it serves, drains, and takes its processes along."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals")

HANDLERS = """
import asyncio
import gc
from pathlib import Path
from tasker_host import hookimpl, step_handler
from tasker_host.domain.source import parse_template

@step_handler("slow")
async def slow(context):
    Path(context.input["began"]).touch()
    while not Path(context.input["go"]).exists():
        await asyncio.sleep(0.01)
    return context.attempt

@step_handler("slow_elsewhere", runs_in="process")
def slow_elsewhere(context):
    import time
    Path(context.input["began"]).touch()
    while not Path(context.input["go"]).exists():
        time.sleep(0.01)
    return context.attempt

@step_handler("spared")
def spared(context):
    Path(context.input["began"]).write_text(str(gc.get_freeze_count()))

@hookimpl
def tasker_handlers():
    return [slow, slow_elsewhere, spared]

@hookimpl
def tasker_templates():
    text = "name: slow\\nnamespace_name: tests\\nversion: 1.0.0\\nsteps:\\n  - {name: slow, handler: {callable: slow}}"
    texts = [text, text.replace("slow", "slow_elsewhere"), text.replace("slow", "spared")]
    return [parse_template(text, source="slow.yaml")[0] for text in texts]
"""


class Running:
    """A `tasker run` that is ready; `log` are its lines so far."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.log: list[dict[str, Any]] = []

    async def said(self, event: str) -> dict[str, Any]:
        """The next line of that event."""
        assert self.process.stderr is not None
        async with asyncio.timeout(30):
            while line := await self.process.stderr.readline():
                assert b"Traceback" not in line, line
                self.log.append(json.loads(line))
                if self.log[-1]["event"] == event:
                    return self.log[-1]
        raise AssertionError(f"ended without saying {event!r}: {self.log}")

    async def ended(self) -> int:
        async with asyncio.timeout(30):
            assert self.process.stderr is not None
            while line := await self.process.stderr.readline():
                self.log.append(json.loads(line))
            return await self.process.wait()


Run = Callable[..., Any]


@pytest.fixture
def run(environment: dict[str, str], installed: Callable[[str, str], str], tmp_path: Path) -> Run:
    """Starts `tasker run <arguments>` with the plugin above beside the examples; gives it when it is ready."""
    path = installed("slow", HANDLERS)

    @asynccontextmanager
    async def run(*arguments: str, **variables: str) -> AsyncIterator[Running]:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tasker_host", "run", "--json", "--port", "0", *arguments),
            stderr=asyncio.subprocess.PIPE,
            cwd=tmp_path,
            start_new_session=True,
            env={**environment, "PYTHONPATH": path, "TASKER__TELEMETRY__LOG_LEVEL": "info", **variables},
        )
        running = Running(process)
        try:
            yield running
        finally:
            if process.returncode is None:
                process.kill()
            await process.communicate()

    return run


async def submit(url: str, tmp_path: Path, name: str = "one", template: str = "slow") -> str:
    context = {"began": str(tmp_path / f"{name}.began"), "go": str(tmp_path / f"{name}.go")}
    async with httpx.AsyncClient(base_url=url) as api:
        answer = await api.post("/v1/tasks", json={"namespace": "tests", "name": template, "context": context})
        assert answer.status_code == 201, answer.text
        return str(answer.json()["task_uuid"])


async def exists(path: Path) -> None:
    async with asyncio.timeout(20):
        while not path.exists():
            await asyncio.sleep(0)


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    # An orphan that nobody has waited for is as good as gone.
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] == "Z"


async def step(dsn: str) -> tuple[str, int]:
    connection = await asyncpg.connect(dsn)
    row = await connection.fetchrow("select state, attempts from tasker.steps")
    await connection.close()
    return tuple(row)


async def test_a_host_on_the_embedded_database_serves_and_leaves_nothing_running(run, data_home, tmp_path):
    async with run() as host:
        ready = await host.said("host is ready")
        task = await submit(ready["url"], tmp_path)
        await exists(tmp_path / "one.began")
        (tmp_path / "one.go").touch()
        async with httpx.AsyncClient(base_url=ready["url"]) as api:
            while (await api.get(f"/v1/tasks/{task}")).json()["status"] != "complete":
                await asyncio.sleep(0)
        server = int(next(data_home.glob("**/postmaster.pid")).read_text().splitlines()[0])
        host.process.terminate()
        assert await host.ended() == 0
        assert [line["event"] for line in host.log[-2:]] == ["host is stopping", "host has stopped"]
    assert gone(server)


async def test_what_a_host_has_loaded_is_not_gone_through_for_garbage_again(run, dsn, tmp_path):
    async with run(DATABASE_URL=dsn) as host:
        await submit((await host.said("host is ready"))["url"], tmp_path, template="spared")
        told = tmp_path / "one.began"
        async with asyncio.timeout(20):
            while not (told.exists() and told.read_text()):
                await asyncio.sleep(0)
    assert int(told.read_text()) > 10_000  # more objects than any plugin brings along


async def test_sigterm_lets_a_running_step_finish_and_readiness_says_so_meanwhile(run, dsn, tmp_path):
    async with run(DATABASE_URL=dsn, TASKER__WORKER__SHUTDOWN_GRACE_SECONDS="60") as host:
        ready = await host.said("host is ready")
        await submit(ready["url"], tmp_path)
        await exists(tmp_path / "one.began")
        host.process.terminate()
        await host.said("host is stopping")
        async with httpx.AsyncClient(base_url=ready["url"]) as api:
            assert (await api.get("/health/ready")).status_code == 503
            assert (await api.get("/health/live")).status_code == 200
        (tmp_path / "one.go").touch()
        assert await host.ended() == 0
    assert await step(dsn) == ("complete", 1)


async def test_ctrl_c_in_a_terminal_does_not_reach_handlers_in_processes(run, dsn, tmp_path):
    async with run(DATABASE_URL=dsn) as host:
        url = (await host.said("host is ready"))["url"]
        await submit(url, tmp_path, template="slow_elsewhere")
        await exists(tmp_path / "one.began")
        os.killpg(host.process.pid, signal.SIGINT)  # as a terminal does: to every process of the group
        await host.said("host is stopping")
        (tmp_path / "one.go").touch()
        assert await host.ended() == 0
    assert await step(dsn) == ("complete", 1)


async def test_a_second_signal_cuts_the_stop_short_and_gives_the_step_back(run, dsn, tmp_path):
    async with run(DATABASE_URL=dsn, TASKER__WORKER__SHUTDOWN_GRACE_SECONDS="600") as host:
        ready = await host.said("host is ready")
        await submit(ready["url"], tmp_path)
        await exists(tmp_path / "one.began")
        host.process.send_signal(signal.SIGINT)
        await host.said("host is stopping")
        host.process.send_signal(signal.SIGINT)
        assert await host.ended() == 0
    assert await step(dsn) == ("enqueued", 0)


async def workers(dsn: str, count: int) -> list[str]:
    """Waits until so many workers are connected; their names."""
    connection = await asyncpg.connect(dsn)
    try:
        async with asyncio.timeout(40):
            while True:
                rows = await connection.fetch(
                    "select application_name from pg_stat_activity"
                    " where datname = current_database() and application_name like 'tasker worker %'"
                )
                if len(rows) == count:
                    return sorted(row[0] for row in rows)
                await asyncio.sleep(0)
    finally:
        await connection.close()


@pytest.mark.parametrize(
    ("options", "variables"),
    [(["--worker-id", "w"], {}), ([], {"TASKER_WORKER_ID": "w"}), ([], {"TASKER__WORKER__ID": "w"})],
)
async def test_more_processes_are_more_workers_and_end_with_the_first(run, dsn, options, variables):
    async with run("--processes", "3", *options, DATABASE_URL=dsn, **variables) as host:
        await host.said("host is ready")
        names = await workers(dsn, 3)
        # Without the suffix of this start.
        assert sorted(name.rpartition("-")[0] for name in names) == [f"tasker worker {w}" for w in ("w", "w-2", "w-3")]
        host.process.terminate()
        assert await host.ended() == 0
    assert await workers(dsn, 0) == []


async def test_processes_end_when_the_first_is_killed(run, dsn):
    async with run("--processes", "2", DATABASE_URL=dsn) as host:
        await host.said("host is ready")
        await workers(dsn, 2)
        host.process.kill()
        await host.process.wait()
        assert await workers(dsn, 0) == []


async def test_a_process_that_dies_is_replaced(run, dsn):
    async with run("--processes", "2", DATABASE_URL=dsn, TASKER__WORKER__ID="w") as host:
        await host.said("host is ready")
        await workers(dsn, 2)
        os.kill(child_workers(host.process.pid)[-1], signal.SIGKILL)
        assert (await host.said("process ended, starting another"))["exit_code"] == -signal.SIGKILL
        await workers(dsn, 2)
        host.process.terminate()
        assert await host.ended() == 0


def child_workers(pid: int) -> list[int]:
    """The processes that `tasker run` started as workers, oldest first."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in children if b"--child" in Path(f"/proc/{child}/cmdline").read_bytes()]


SCALED = {"TASKER__WORKER__HEARTBEAT_SECONDS": "0.2", "TASKER__WORKER__SLOTS": "4"}


async def test_processes_follow_the_work_and_what_runs_in_one_that_goes_is_finished(run, dsn, tmp_path):
    async with run("--processes", "1..3", DATABASE_URL=dsn, **SCALED) as host:
        url = (await host.said("host is ready"))["url"]
        await workers(dsn, 1)
        names = [f"n{number}" for number in range(10)]
        for name in names[:4]:
            await submit(url, tmp_path, name)
        more = await host.said("processes changed")
        assert (more["before"], more["processes"]) == (1, 2)
        for name in names[4:]:
            await submit(url, tmp_path, name)
        more = await host.said("processes changed")
        assert (more["before"], more["processes"]) == (2, 3)
        await workers(dsn, 3)
        os.kill(child_workers(host.process.pid)[0], signal.SIGKILL)  # one that dies is replaced, and no more than that
        await host.said("process ended, starting another")
        await workers(dsn, 3)
        for name in names:
            (tmp_path / f"{name}.go").touch()
        less = [(await host.said("processes changed"))["processes"] for _ in range(2)]
        assert less == [2, 1]
        await workers(dsn, 1)
        host.process.terminate()
        assert await host.ended() == 0
    assert await workers(dsn, 0) == []


async def test_a_host_that_is_told_to_stop_while_it_scales_leaves_nothing(run, dsn, tmp_path):
    async with run("--processes", "1..4", DATABASE_URL=dsn, **SCALED) as host:
        url = (await host.said("host is ready"))["url"]
        for name in ("a", "b", "c", "d"):
            await submit(url, tmp_path, name)
        await host.said("processes changed")
        children = child_workers(host.process.pid)
        for name in ("a", "b", "c", "d"):
            (tmp_path / f"{name}.go").touch()
        host.process.terminate()
        assert await host.ended() == 0
        assert all(map(gone, children))
    assert await workers(dsn, 0) == []


@pytest.mark.parametrize("given", ["0", "x", "2..", "4..2", "0..3", "1..257", "-1"])
async def test_a_number_of_processes_that_means_nothing_is_wrong_usage(environment, given):
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tasker_host", "run", "--processes", given), stderr=asyncio.subprocess.PIPE,
        env=environment,
    )  # fmt: skip
    _, err = await process.communicate()
    assert process.returncode == 2
    assert b"--processes" in err


async def test_an_address_that_is_taken_stops_the_start_and_leaves_nothing(run, dsn):
    async with run(DATABASE_URL=dsn) as first:
        port = (await first.said("host is ready"))["url"].rpartition(":")[2]
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tasker_host", "run", "--port", port),
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, "DATABASE_URL": dsn, "TASKER_ENV": "test"},
        )
        _, err = await process.communicate()
        assert process.returncode == 3
        assert b"Address already in use; set web.host and web.port" in err
        assert b"Traceback" not in err
