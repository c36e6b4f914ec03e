"""`tasker plugin show`, `list` and `check`: what plugins give, for people and for programs."""

from __future__ import annotations

import json

import pytest

from tests.support import command

EVERYTHING = """
    from typing import Annotated
    import click
    from litestar import get
    from pydantic import BaseModel, SecretStr
    from tasker_host import *

    class Settings(BaseModel):
        url: str = "https://gateway.example"
        key: SecretStr = SecretStr("hunter2")
        retries: int = 3

    @step_handler("pay.charge", runs_in="pay.pool")
    def charge(cents: Annotated[int, Input("cents")], quote: Annotated[dict, From("price")], settings: Settings):
        return cents

    class Busy(Exception):
        pass

    async def around(step, call_next):
        return await call_next()

    @get("/status")
    async def status() -> str:
        return "up"

    @hookimpl
    def tasker_settings():
        return Settings

    @hookimpl
    def tasker_handlers():
        return [charge]

    @hookimpl
    def tasker_middleware():
        return [Middleware("pay.around", around)]

    @hookimpl
    def tasker_classifiers():
        return [Classifier(Busy, True)]

    @hookimpl
    def tasker_executors():
        return [Executor("pay.pool", print, is_remote=False)]

    @hookimpl
    def tasker_health():
        return [HealthCheck("pay.gateway", lambda: True)]

    @hookimpl
    def tasker_routes():
        return [status]

    @hookimpl
    def tasker_publishers():
        return [Publisher("pay.charged", print)]

    @hookimpl
    def tasker_subscribers():
        return [Subscriber("pay.watch", ["pay.**"], print)]

    @hookimpl
    def tasker_commands():
        return [click.Command("pay")]
"""


@pytest.fixture
def config(tmp_path, monkeypatch):
    monkeypatch.setenv("TASKER_ENV", "test")

    def config(text=""):
        file = tmp_path / "host.toml"
        file.write_text(f"[plugins.examples]\nenabled = false\n{text}")
        return ("--config", str(file))

    return config


def test_everything_that_a_plugin_gives_is_shown_by_name(install, config):
    install("pay", EVERYTHING)
    where = config("[plugins.pay]\nrequired = true\n[plugins.pay.settings]\nretries = 5\n")
    told = json.loads(command("plugin", "show", "pay", "--json", *where).stdout)
    assert told["gives"] == {
        "handlers": 1,
        "middleware": 1,
        "classifiers": 1,
        "executors": 1,
        "publishers": 1,
        "subscribers": 1,
        "commands": 1,
        "health checks": 1,
        "routes": 1,
    }
    names = ("middleware", "classifiers", "executors", "publishers", "subscribers", "commands", "health", "routes")
    assert {kind: told[kind] for kind in names} == {
        "middleware": ["pay.around"],
        "classifiers": ["Busy"],
        "executors": ["pay.pool"],
        "publishers": ["pay.charged"],
        "subscribers": ["pay.watch"],
        "commands": ["pay"],
        "health": ["pay.gateway"],
        "routes": ["/status"],
    }
    assert told["handlers"][0]["runs_in"] == "pay.pool"
    assert told["handlers"][0]["given"] == [
        "cents: int ← input cents",
        "quote: dict ← value of step price",
        "settings: Settings ← settings",
    ]
    settings = {one["key"]: (one["value"], one["origin"].rpartition("/")[2]) for one in told["settings"]}
    assert settings["retries"] == (5, "host.toml:6")
    assert settings["url"] == ("https://gateway.example", "the plugin's default")
    text = command("plugin", "show", "pay", *where).stdout
    assert text.splitlines()[0] == "pay  active, required"
    for line in ("pay.charge 1.0.0   acme_pay.charge, in pay.pool", "  pay.gateway", "  /status", "  quote: dict ←"):
        assert line in text
    assert "hunter2" not in text + json.dumps(told)


def test_the_host_shows_what_it_gives_itself_and_is_no_plugin_of_the_list(install, config):
    install("pay", EVERYTHING)
    told = json.loads(command("plugin", "show", "host", "--json", *config("[events]\nlog = ['pay.**']\n")).stdout)
    assert told["executors"] == ["thread", "process"]
    assert told["subscribers"] == ["tasker.log", "tasker.metrics"]
    listed = json.loads(command("plugin", "list", "--json", *config()).stdout)
    assert [plugin["name"] for plugin in listed["plugins"]] == ["examples", "pay"]


def test_a_fault_moves_no_column_of_the_list(install, config):
    install("pay", EVERYTHING)
    install("sad", f"raise ValueError('{'x' * 300}')")
    lines = command("plugin", "list", *config()).stdout.splitlines()
    assert lines[0].split() == ["NAME", "VERSION", "STATUS", "GIVES", "FROM"]
    column = lines[0].index("STATUS")
    for line in lines:
        if not line.startswith(" "):
            assert line[column:].split()[0] in ("STATUS", "active", "disabled", "failed")
    assert lines[-1].startswith(f"  import · ValueError: {'x' * 300} (acme_sad/__init__.py:1); ")


def test_a_plugin_that_is_disabled_says_why(install, config):
    install("pay", "raise AssertionError")
    where = config("[plugins.pay]\nenabled = false\n")
    assert "[plugins.pay] enabled is false (" in command("plugin", "list", *where).stdout
    shown = command("plugin", "show", "pay", *where)
    assert shown.exit_code == 0
    assert shown.stdout.splitlines()[0] == "pay  disabled"


def test_a_module_is_checked_with_the_settings_of_the_plugin_that_it_will_be(install, config, tmp_path, monkeypatch):
    source = (
        "import pydantic\nfrom tasker_host import hookimpl\n"
        "class Settings(pydantic.BaseModel):\n    key: str\n"
        "@hookimpl\ndef tasker_settings():\n    return Settings\n"
    )
    package = tmp_path / "src/tasker_pay"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(source)
    monkeypatch.syspath_prepend(str(tmp_path / "src"))
    where = config("[plugins.pay.settings]\nkey = 'x'\n")
    assert command("plugin", "check", "tasker_pay", *where).stdout == "no faults\npay: nothing\n"
    other = command("plugin", "check", "tasker_pay", "--name", "other", *where)
    assert other.exit_code == 3
    assert "[plugins.other.settings] key" in other.stderr
    install("wages", source)
    assert command("plugin", "check", "acme_wages", *config("[plugins.wages.settings]\nkey = 'x'\n")).exit_code == 0
    assert command("plugin", "check", "--name", "other").exit_code == 2


def test_a_module_that_cannot_be_imported_is_a_fault_like_any_other(config):
    checked = command("plugin", "check", "acme_nothing", "--json", *config())
    assert checked.exit_code == 3
    [plugin] = json.loads(checked.stdout)["plugins"]
    assert plugin["faults"][0]["stage"] == "import"
    assert plugin["faults"][0]["hint"] == 'python -c "import acme_nothing" shows where'
