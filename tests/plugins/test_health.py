"""`tasker_health`: what plugins look at, in `/health`."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from tasker_host import HealthCheck
from tasker_host.plugins import Stage, Status
from tasker_host.server import create_app
from tests.support import plugin, running_host


@pytest.fixture
def no_memory(monkeypatch):
    monkeypatch.setattr("tasker_host.runtime.health.KEPT_SECONDS", 0.0)


def checking(*checks: HealthCheck):
    return plugin([], tasker_health=lambda: list(checks))


async def asked(host, path="/health"):
    transport = httpx.ASGITransport(create_app(host), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://host") as api:
        answer = await api.get(path)
    return answer.status_code, answer.json()


def found(body, name):
    (check,) = [check for check in body["checks"] if check["name"] == name]
    return check["status"], check["message"], check["critical"]


async def test_a_check_of_an_installed_plugin_is_shown_beside_the_hosts_own(install, installed_host):
    install(
        "broker",
        """
        from tasker_host import HealthCheck, hookimpl

        @hookimpl
        def tasker_settings():
            import pydantic
            return pydantic.create_model("Settings", name=(str, "mq-1"))

        @hookimpl
        def tasker_health(settings):
            async def connected():
                return f"{settings.name} answers"
            yield HealthCheck("broker.connection", connected, critical=True)
            yield HealthCheck("broker.queue", lambda: True)
        """,
    )
    async with installed_host() as host:
        code, body = await asked(host)
    assert (code, body["status"]) == (200, "healthy")
    assert [check["name"] for check in body["checks"]] == [
        "database",
        "worker",
        "plugins",
        "broker.connection",
        "broker.queue",
    ]
    assert found(body, "broker.connection") == ("healthy", "mq-1 answers", True)
    assert found(body, "broker.queue") == ("healthy", "", False)


class Strange(Exception):
    def __str__(self):
        raise ValueError("cannot be told")


def broken(error: BaseException):
    def check():
        raise error

    return check


def broken_async(error: BaseException):
    async def check():
        raise error

    return check


ILL = {
    "says-no": (lambda: False, "the check says so"),
    "strange": (lambda: {"ok": True}, "it returned {'ok': True}; it must return None, True, False or text"),
    "raises": (broken(OSError("no route")), "OSError: no route"),
    "raises-async": (broken_async(OSError("no route")), "OSError: no route"),
    "exits": (broken(SystemExit(3)), "SystemExit: 3"),
    "exits-async": (broken_async(SystemExit(3)), "it called sys.exit(3)"),
    "stops": (broken(StopIteration()), "StopIteration"),
    "cannot-be-told": (broken(Strange()), "(which cannot be shown)"),
}


async def test_whatever_a_check_finds_or_raises_is_unhealthy_and_makes_the_host_degraded(dsn):
    checks = [HealthCheck(name, check) for name, (check, _) in ILL.items()]
    async with running_host(dsn, checking(*checks)) as host:
        code, body = await asked(host)
        assert (code, body["status"]) == (200, "degraded")
        for name, (_, message) in ILL.items():
            status, told, critical = found(body, name)
            assert (status, critical) == ("unhealthy", False)
            assert message in told
        assert (await asked(host, "/health/ready"))[0] == 200


async def test_a_critical_one_that_is_unhealthy_stops_traffic(dsn):
    checks = [HealthCheck("mine", lambda: False, critical=True), HealthCheck("other", lambda: False)]
    async with running_host(dsn, checking(*checks)) as host:
        code, body = await asked(host)
        assert (code, body["status"]) == (503, "unhealthy")
        code, body = await asked(host, "/health/ready")
    assert code == 503
    assert body["detail"] == "the host is ready; unhealthy: mine"


async def test_checks_that_hang_delay_no_answer_and_are_not_piled_up(dsn, monkeypatch, no_memory):
    import threading

    monkeypatch.setattr("tasker_host.runtime.health.CHECK_TIMEOUT_SECONDS", 0.02)
    may_end = threading.Event()
    calls: list[str] = []

    def blocks():
        calls.append("sync")
        may_end.wait()
        return "at last"

    async def waits():
        calls.append("async")
        await asyncio.Event().wait()

    checks = checking(HealthCheck("blocks", blocks), HealthCheck("waits", waits))
    async with running_host(dsn, checks) as host:
        for _ in range(3):
            _, body = await asked(host)
            assert found(body, "blocks")[:2] == ("unhealthy", "no answer within 0.02 s")
            assert found(body, "waits")[:2] == ("unhealthy", "no answer within 0.02 s")
        assert calls.count("sync") == 1
        may_end.set()
        async with asyncio.timeout(5):
            while found((await asked(host))[1], "blocks")[0] != "healthy":
                pass


@pytest.mark.parametrize(
    ("given", "stage", "told"),
    [
        ("[5]", Stage.COLLECT, "tasker_health: gave 5 (int), not a HealthCheck"),
        ("[HealthCheck('a', 5)]", Stage.COLLECT, "health check 'a': check must be a function (got 5 (int))"),
        ("[HealthCheck('', print)]", Stage.COLLECT, "the name of a health check must be text (got '')"),
        ("[HealthCheck('a', print, critical='yes')]", Stage.COLLECT, "critical must be True or False (got 'yes')"),
        ("[HealthCheck('a', print), HealthCheck('a', print)]", Stage.COLLECT, "two health checks are named 'a'"),
        ("[HealthCheck('worker', print)]", Stage.NAMES, "'worker' is already given by the host itself; rename it"),
        ("[HealthCheck('alpha.up', print)]", Stage.NAMES, "health check 'alpha.up' is already given by plugin 'alpha'"),
        ("1 / 0", Stage.COLLECT, "tasker_health: ZeroDivisionError"),
    ],
)
def test_wrong_checks_are_faults_at_start_up(install, roster, given, stage, told):
    source = "from tasker_host import *\n@hookimpl\ndef tasker_health():\n    return {}\n"
    install("alpha", source.format("[HealthCheck('alpha.up', print)]"))
    install("beta", source.format(given))
    found = roster()
    assert found.plugin("alpha").contribution.gives() == {"health checks": 1}
    (fault,) = found.plugin("beta").faults
    assert (found.plugin("beta").status, fault.stage, fault.hook) == (Status.FAILED, stage, "tasker_health")
    assert told in str(fault)
