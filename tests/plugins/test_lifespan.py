"""What plugins open and close around the life of a host."""

from __future__ import annotations

from contextlib import asynccontextmanager

import pytest

from tasker_host import step_handler
from tasker_host.errors import PluginError
from tasker_host.plugins import Status
from tests.support import chain, configured, plugin, results, run_to_end, running_host


def with_lifespan(name: str, log: list[str], *, fails: str = "", handlers=(), templates=()):
    @asynccontextmanager
    async def lifespan(settings, host):
        if fails == "entering":
            raise OSError("no broker")
        log.append(f"{name} in, version {host.version}")
        yield
        log.append(f"{name} out")
        if fails == "leaving":
            raise OSError("cannot close")

    def tasker_lifespan(settings, host):
        return lifespan(settings, host)

    return plugin(handlers, templates, tasker_lifespan=tasker_lifespan)


@step_handler("work")
async def work() -> str:
    return "done"


async def test_lifespans_are_entered_in_name_order_and_left_in_reverse(dsn):
    log: list[str] = []
    async with running_host(dsn, with_lifespan("a", log), with_lifespan("b", log)) as host:
        assert log == [f"a in, version {host.version}", f"b in, version {host.version}"]
    assert log[2:] == ["b out", "a out"]


async def test_a_plugin_that_cannot_open_fails_alone_and_its_templates_are_gone(dsn, capsys):
    log: list[str] = []
    broken = with_lifespan("broken", log, fails="entering", handlers=[work], templates=[chain("one", "work")])

    @step_handler("other")
    async def other() -> str:
        return "fine"

    good = with_lifespan("good", log, handlers=[other], templates=[chain("two", "other")])
    wrong = plugin([], tasker_health=lambda: [5])
    async with running_host(dsn, broken, good, wrong) as host:
        assert results(await run_to_end(host, "two")) == {"other": "fine"}
        assert host.roster.plugin("p0").status is Status.FAILED
        assert "no broker" in str(host.roster.plugin("p0").faults[0])
        assert [template.label for template in host.registry.templates()] == ["tests/two 1.0.0"]
    assert log == [f"good in, version {host.version}", "good out"]
    told = capsys.readouterr().out
    assert told.count("plugin gives nothing") == 2
    assert (told.count("no broker"), told.count("not a HealthCheck")) == (1, 1)


async def test_what_a_lifespan_raises_on_its_way_out_keeps_no_other_open(dsn, capsys):
    log: list[str] = []
    async with running_host(dsn, with_lifespan("a", log), with_lifespan("b", log, fails="leaving")):
        pass
    assert log[2:] == ["b out", "a out"]
    assert "cannot close" in capsys.readouterr().out


async def test_a_required_plugin_that_cannot_open_stops_the_host(dsn):
    from tasker_host.host import Host

    config = configured(dsn, plugins__p={"required": True})
    broken = with_lifespan("broken", [], fails="entering")
    with pytest.raises(PluginError, match="no broker"):
        async with Host(config, plugins={"p": broken}, entry_points=False):
            raise AssertionError
