"""One installed distribution that implements every hook, and what each of them does to a host that runs."""

from __future__ import annotations

import asyncio
import importlib
import json
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from tasker_host.host import Host
from tasker_host.server import create_app
from tests.plugins.test_table import HOOKS
from tests.support import command, results, run_to_end

PLUGIN = """
import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from importlib.resources import files

import click
import pydantic
from litestar import get
from tasker_host import *

log = []
heard = asyncio.Event()
carried = asyncio.Event()
pool = ThreadPoolExecutor(1, thread_name_prefix="every")

class Settings(pydantic.BaseModel):
    word: str

class Busy(Exception):
    pass

@step_handler("every.work")
async def work(context: StepContext, settings: Settings):
    if context.attempt == 1:
        raise Busy("not now")
    return settings.word

@step_handler("every.pooled", runs_in="every.pool")
def pooled():
    return threading.current_thread().name

def found():
    return "found by a resolver"

@hookimpl
def tasker_settings():
    return Settings

@hookimpl
def tasker_handlers(settings):
    return [work, pooled]

@hookimpl
def tasker_resolvers(settings):
    return [Resolver("every.names", lambda definition: found if definition.callable == "every://found" else None)]

@hookimpl
def tasker_templates(settings):
    return [files(__name__)]

@hookimpl
def tasker_middleware(settings):
    async def around(step, call_next):
        result = await call_next()
        log.append((step.step_name, step.attempt, type(result).__name__))
        return result
    return [Middleware("every.log", around)]

@hookimpl
def tasker_classifiers(settings):
    return [Classifier(Busy, True, delay_seconds=0)]

@hookimpl
def tasker_executors(settings):
    return [Executor("every.pool", pool.submit, is_remote=False)]

@hookimpl
def tasker_publishers(settings):
    return [Publisher("every.word", lambda step, result, event: {"said": result.value})]

@hookimpl
def tasker_subscribers(settings):
    async def receive(event):
        log.append(("heard", event.event_name, event.payload))
        heard.set()
    return [Subscriber("every.ear", ["every.*"], receive)]

@hookimpl
def tasker_relays(settings):
    async def deliver(event):
        log.append(("carried", event.event_name, event.payload))
        carried.set()
    return [Relay("every_van", ["every.*"], deliver)]

@hookimpl
def tasker_commands():
    @click.command("every")
    def every():
        click.echo("every command")
    return [every]

@hookimpl
def tasker_health(settings):
    return [HealthCheck("every.pulse", lambda: settings.word)]

@hookimpl
def tasker_routes(settings):
    @get("/word")
    async def word() -> str:
        return settings.word
    return [word]

@hookimpl
@asynccontextmanager
async def tasker_lifespan(settings, host):
    log.append(("in", settings.word))
    yield
    log.append(("out", settings.word))
    pool.shutdown()
"""

TEMPLATE = """
name: all
namespace_name: tests
version: 1.0.0
steps:
  - name: work
    handler: {callable: every.work}
    publishes_events:
      - {name: every.done, publisher: every.word, delivery_mode: broadcast}
  - {name: pooled, handler: {callable: every.pooled}}
  - {name: found, handler: {callable: "every://found"}}
"""


class Seen:
    """What became of it: the task's row, the log of the plugin, and what HTTP answered."""

    def __init__(self) -> None:
        self.row: Any = None
        self.log: list[Any] = []
        self.checks: dict[str, str] = {}
        self.word: str = ""


@pytest.fixture
def every(install):
    install("every", PLUGIN, templates={"all.yaml": TEMPLATE})
    return importlib.import_module("acme_every")


@asynccontextmanager
async def ran(host: Host, module: Any):
    seen = Seen()
    async with host:
        seen.row = await run_to_end(host, "all")
        async with asyncio.timeout(20):
            await module.heard.wait()
            await module.carried.wait()
        transport = httpx.ASGITransport(create_app(host), raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://host") as api:
            seen.checks = {one["name"]: one["message"] for one in (await api.get("/health")).json()["checks"]}
            seen.word = (await api.get("/plugins/every/word")).text
    seen.log = module.log
    yield seen


async def test_every_hook_does_what_it_says(every, installed_host, monkeypatch):
    monkeypatch.setenv("TASKER__PLUGINS__EVERY__SETTINGS__WORD", "hello")  # for the command
    cases = {
        "tasker_settings": lambda seen: seen.log[0] == ("in", "hello"),
        "tasker_handlers": lambda seen: results(seen.row)["work"] == "hello",
        "tasker_resolvers": lambda seen: results(seen.row)["found"] == "found by a resolver",
        "tasker_templates": lambda seen: seen.row["name"] == "all",
        "tasker_middleware": lambda seen: ("work", 1, "Failed") in seen.log and ("work", 2, "Succeeded") in seen.log,
        "tasker_classifiers": lambda seen: {s["name"]: s["attempts"] for s in seen.row["steps"]}["work"] == 2,
        "tasker_executors": lambda seen: results(seen.row)["pooled"] == "every_0",
        "tasker_publishers": lambda seen: ("heard", "every.done", {"said": "hello"}) in seen.log,
        "tasker_subscribers": lambda seen: [entry[0] for entry in seen.log].count("heard") == 1,
        "tasker_relays": lambda seen: ("carried", "every.done", {"said": "hello"}) in seen.log,
        "tasker_commands": lambda seen: command("every").stdout == "every command\n",
        "tasker_health": lambda seen: seen.checks["every.pulse"] == "hello",
        "tasker_routes": lambda seen: seen.word == "hello",
        "tasker_lifespan": lambda seen: seen.log[-1] == ("out", "hello"),
    }  # fmt: skip
    assert set(cases) == set(HOOKS)
    async with ran(installed_host(**{"plugins.every.settings.word": "hello"}), every) as seen:
        assert seen.row["status"] == "complete"
        assert [name for name, holds in cases.items() if not holds(seen)] == []


def test_all_of_it_is_told_before_any_host_is_there(every, tmp_path, monkeypatch):
    monkeypatch.setenv("TASKER_ENV", "test")
    file = tmp_path / "host.toml"
    file.write_text("[plugins.examples]\nenabled = false\n[plugins.every.settings]\nword = 'hello'\n")
    checked = command("plugin", "check", "--json", "--config", str(file))
    assert checked.exit_code == 0
    (told,) = [plugin for plugin in json.loads(checked.stdout)["plugins"] if plugin["name"] == "every"]
    # Settings and lifespan are not counted; every other hook gives something.
    assert len(told["gives"]) == len(HOOKS) - 2
    assert every.log == []
