"""Health: probes get an answer in time whatever a check does, and while the host starts."""

from __future__ import annotations

import asyncio
import time

import httpx
import pytest

from tasker_host.host import Host
from tasker_host.runtime.health import Finding, Health, Report, Status
from tasker_host.server import create_app
from tests.support import configured


@pytest.fixture
def limit(monkeypatch: pytest.MonkeyPatch) -> float:
    """Seconds a check has in these tests; a report is never kept."""
    monkeypatch.setattr("tasker_host.runtime.health.CHECK_TIMEOUT_SECONDS", 0.02)
    monkeypatch.setattr("tasker_host.runtime.health.KEPT_SECONDS", 0.0)
    return 0.02


def seen(report: Report) -> list[tuple[Status, str]]:
    return [(checked.status, checked.message) for checked in report.checks]


async def test_a_check_that_cannot_be_cancelled_delays_no_probe_and_is_not_started_again_until_it_ends(limit):
    may_end = asyncio.Event()
    starts: list[int] = []

    async def stubborn() -> Finding:
        starts.append(1)
        while not may_end.is_set():
            try:
                await may_end.wait()
            except asyncio.CancelledError:
                continue
        return Finding(message="at last")

    health = Health()
    health.add("stubborn", stubborn)
    late = [(Status.UNHEALTHY, "no answer within 0.02 s")]
    try:
        assert seen(await health.report()) == late
        assert seen(await health.report()) == late
        assert len(starts) == 1
    finally:
        may_end.set()
    # What a check says too late is dropped; the next one is a fresh look.
    async with asyncio.timeout(5):
        while (found := seen(await health.report())) == late:
            pass
    assert found == [(Status.HEALTHY, "at last")]
    assert len(starts) == 2


async def test_a_check_that_is_cancelled_from_within_is_unhealthy():
    async def cancelled() -> Finding:
        raise asyncio.CancelledError

    health = Health()
    health.add("cancelled", cancelled)
    assert seen(await health.report()) == [(Status.UNHEALTHY, "it was cancelled")]


async def test_a_time_limit_of_the_checks_own_is_not_taken_for_ours():
    async def impatient() -> Finding:
        raise TimeoutError("no connection within 0.1 s")

    health = Health()
    health.add("impatient", impatient)
    assert seen(await health.report()) == [(Status.UNHEALTHY, "no connection within 0.1 s")]


async def test_a_slow_check_does_not_hide_what_the_others_found_nor_how_long_it_took(limit):
    async def slow() -> Finding:
        await asyncio.Event().wait()
        return Finding()

    async def tired() -> Finding:
        return Finding(Status.DEGRADED, "tired")

    health = Health()
    health.add("slow", slow)
    health.add("tired", tired)
    started = time.perf_counter()
    report = await health.report()
    assert seen(report) == [(Status.UNHEALTHY, "no answer within 0.02 s"), (Status.DEGRADED, "tired")]
    assert 1000 * limit <= report.checks[0].took_ms + 1 <= 1000 * (time.perf_counter() - started) + 2


async def test_a_host_that_starts_is_alive_says_so_and_takes_nothing(dsn):
    starting = Host(configured(dsn))
    transport = httpx.ASGITransport(create_app(starting), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://host") as api:
        assert (await api.get("/health/live")).status_code == 200
        health = await api.get("/health")
        assert health.status_code == 200
        assert (health.json()["phase"], health.json()["checks"]) == ("starting", [])
        assert health.json()["info"] == {"version": starting.version, "environment": "test"}
        request = {"namespace": "tests", "name": "echo"}
        for answer in (
            await api.get("/health/ready"),
            await api.get("/v1/tasks"),
            await api.get("/v1/tasks/0192f0c4-0000-7000-8000-000000000000"),
            await api.post("/v1/tasks", json=request),
        ):
            assert (answer.status_code, answer.json()["code"], answer.headers["retry-after"]) == (503, "NOT_READY", "1")
            assert answer.json()["detail"] == "the host is starting"
