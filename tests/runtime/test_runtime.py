"""Loops that are kept running, health, and logs."""

from __future__ import annotations

import asyncio
import io
import json
import logging

import pytest
import structlog

from tasker_host.runtime.health import Finding, Health, Phase, Status
from tasker_host.runtime.logs import configure_logs
from tasker_host.runtime.supervise import Supervisor


async def test_a_loop_that_raises_is_started_again_and_one_that_returns_has_ended():
    starts: list[int] = []

    async def loop() -> None:
        starts.append(len(starts))
        if len(starts) < 3:
            raise OSError("broken")

    supervisor = Supervisor()
    supervisor.start("loop", loop)
    await supervisor.ended("loop")
    assert starts == [0, 1, 2]
    await supervisor.stop()


async def test_stopping_cancels_every_loop_and_waits_for_it():
    left: list[str] = []
    begun = asyncio.Event()

    async def loop() -> None:
        try:
            begun.set()
            await asyncio.Event().wait()
        finally:
            left.append("left")

    supervisor = Supervisor()
    supervisor.start("loop", loop)
    await begun.wait()
    await supervisor.stop()
    assert left == ["left"]


async def fine() -> Finding:
    return Finding()


async def test_the_worst_check_is_the_status_and_a_raise_is_unhealthy():
    async def tired() -> Finding:
        return Finding(Status.DEGRADED, "slow")

    async def broken() -> Finding:
        raise OSError("gone")

    health = Health()
    assert (await health.report()).is_ready is False
    health.ready()
    health.add("fine", fine)
    assert ((await health.report()).status, (await health.report()).is_ready) == (Status.HEALTHY, True)
    for name, check, status, ready in (
        ("tired", tired, Status.DEGRADED, True), ("broken", broken, Status.UNHEALTHY, False),
    ):  # fmt: skip
        health = Health()
        health.ready()
        health.add("fine", fine)
        health.add(name, check)
        report = await health.report()
        assert (report.status, report.is_ready) == (status, ready)
    assert [checked.message for checked in report.checks] == ["", "gone"]


async def test_checks_run_once_however_many_ask():
    runs: list[int] = []

    async def counted() -> Finding:
        runs.append(1)
        await asyncio.sleep(0)
        return Finding()

    health = Health()
    health.add("counted", counted)
    await asyncio.gather(*(health.report() for _ in range(20)))
    assert runs == [1]


async def test_a_check_that_hangs_is_unhealthy(monkeypatch):
    monkeypatch.setattr("tasker_host.runtime.health.CHECK_TIMEOUT_SECONDS", 0.01)

    async def hangs() -> Finding:
        await asyncio.Event().wait()
        return Finding()

    health = Health()
    health.add("hangs", hangs)
    assert [(c.status, c.message) for c in (await health.report()).checks] == [
        (Status.UNHEALTHY, "no answer within 0.01 s")
    ]


async def test_a_stopping_host_is_not_ready_however_healthy():
    health = Health()
    health.ready()
    health.stopping()
    report = await health.report()
    assert (report.phase, report.is_ready) == (Phase.STOPPING, False)


@pytest.fixture
def logs():
    """Gives a function that configures logs and returns where they go; puts everything back."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    stream = io.StringIO()

    def configured(level: str, style: str) -> io.StringIO:
        configure_logs(level, style, stream=stream)
        return stream

    yield configured
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def test_json_logs_are_an_object_a_line_also_those_of_other_libraries(logs):
    stream = logs("info", "json")
    structlog.get_logger("tasker.x").info("step finished", step="charge", took_ms=41)
    logging.getLogger("library").warning("careful with %s", "this")
    structlog.get_logger("tasker.x").debug("not shown")
    first, second = map(json.loads, stream.getvalue().splitlines())
    assert (first["event"], first["step"], first["took_ms"], first["level"]) == ("step finished", "charge", 41, "info")
    assert (second["event"], second["level"], second["logger"]) == ("careful with this", "warning", "library")


def test_console_logs_are_read_by_people_and_a_traceback_shows_no_variables(logs):
    stream = logs("info", "console")
    token = "hunter2"
    try:
        raise ValueError("no")
    except ValueError:
        structlog.get_logger("tasker.x").exception("failed", plugin="payments")
    text = stream.getvalue()
    assert "failed" in text
    assert "plugin=payments" in text
    assert "ValueError: no" in text
    assert token not in text
