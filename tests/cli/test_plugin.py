"""`tasker plugin`, and the commands that plugins add."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.cli.conftest import Tasker

GREETER = """
from typing import Annotated

import click
import pydantic
from tasker_host import Input, hookimpl, step_handler

class Settings(pydantic.BaseModel):
    greeting: str = "hello"
    token: pydantic.SecretStr = pydantic.SecretStr("")

@step_handler("greeter.greet")
async def greet(name: Annotated[str, Input("name")], settings: Settings):
    return f"{settings.greeting} {name}"

@hookimpl
def tasker_settings():
    return Settings

@hookimpl
def tasker_handlers(settings):
    return [greet]

@hookimpl
def tasker_commands():
    @click.command("greet")
    @click.argument("name")
    def greet(name):
        "Say hello."
        click.echo(f"hello {name}")
    return [greet]
"""


@pytest.fixture
def with_plugin(tasker: Tasker, installed: Callable[[str, str], str]) -> Callable[[str], Tasker]:
    """`tasker` where the given source is installed as the plugin `greeter`."""

    def with_plugin(source: str) -> Tasker:
        path = installed("greeter", source)
        return lambda *arguments, **more: tasker(*arguments, PYTHONPATH=path, **more)

    return with_plugin


def test_list_shows_each_plugin_and_below_a_broken_one_its_fault(with_plugin):
    listed = with_plugin("raise RuntimeError('no licence')")("plugin", "list")
    assert listed.code == 0
    lines = [line.split() for line in listed.out.splitlines()]
    assert lines[0] == ["NAME", "VERSION", "STATUS", "GIVES", "FROM"]
    assert lines[1][:6] == ["examples", "0.1.0", "active", "133", "handlers,", "47"]
    assert lines[1][-1] == "tasker-examples"
    assert lines[2] == ["greeter", "2.0", "failed", "–", "acme-greeter"]
    assert "import · RuntimeError: no licence (acme_greeter.py:1)" in listed.out


def test_list_as_json_has_stage_hook_error_and_hint(with_plugin):
    plugins = with_plugin("import acme_nothing")("plugin", "list", "--json").json["plugins"]
    assert [plugin["status"] for plugin in plugins] == ["active", "failed"]
    assert plugins[0]["gives"] == {"handlers": 133, "templates": 47, "publishers": 2, "subscribers": 1}
    (fault,) = plugins[1]["faults"]
    assert (fault["stage"], fault["hint"]) == ("import", "install what gives the module 'acme_nothing'")


def test_show_tells_settings_without_secrets_and_what_handlers_are_given(with_plugin, tmp_path):
    (tmp_path / "host.toml").write_text('[plugins.greeter.settings]\ntoken = "hunter2"\n')
    tasker = with_plugin(GREETER)
    shown = tasker("plugin", "show", "greeter", "--config", "host.toml")
    assert shown.code == 0
    assert "hunter2" not in shown.out
    assert "name: str ← input name" in shown.out
    details = tasker("plugin", "show", "greeter", "--config", "host.toml", "--json").json
    settings = {setting["key"]: (setting["value"], setting["origin"]) for setting in details["settings"]}
    assert settings == {"token": ("•••", "host.toml:2"), "greeting": ("hello", "the plugin's default")}
    assert details["commands"] == ["greet"]


def test_a_plugin_that_is_not_there_is_told_with_a_suggestion(tasker):
    shown = tasker("plugin", "show", "exampels")
    assert (shown.code, shown.err) == (2, "error: no plugin 'exampels'; did you mean 'examples'?\n")


def test_check_finds_nothing_wrong_with_the_examples(tasker):
    checked = tasker("plugin", "check")
    assert (checked.code, checked.err) == (0, "")
    assert "examples: 133 handlers, 47 templates, 2 publishers, 1 subscriber" in checked.out


def test_check_tells_faults_and_templates_without_handlers(with_plugin, tmp_path):
    (tmp_path / "own.yaml").write_text(
        "name: own\nnamespace_name: mine\nversion: 1.0.0\nsteps:\n  - {name: a, handler: {callable: greeter.greeet}}\n"
    )
    (tmp_path / "host.toml").write_text('[templates]\npaths = ["own.yaml"]\n')
    checked = with_plugin(GREETER)("plugin", "check", "--config", "host.toml")
    assert checked.code == 3
    assert "template mine/own 1.0.0, step 'a'" in checked.err
    assert "did you mean 'greeter.greet'" in checked.err


def test_check_takes_a_module_that_is_not_installed(tasker, tmp_path):
    (tmp_path / "acme_new.py").write_text(GREETER.replace("(settings)", "(x)"))
    checked = tasker("plugin", "check", "acme_new")
    assert checked.code == 3
    assert "tasker_handlers" in checked.err
    assert tasker("plugin", "check", "acme_nothing").code == 3


def test_a_command_of_a_plugin_is_listed_and_runs(with_plugin):
    tasker = with_plugin(GREETER)
    assert "Say hello." in tasker("--help").out
    assert tasker("greet", "Ann").out == "hello Ann\n"


def test_an_unknown_command_is_told_with_a_suggestion(tasker):
    ran = tasker("tsk")
    assert ran.code == 2
    assert "no command 'tsk'; did you mean 'task'?" in ran.err


def test_templates_that_are_configured_are_told_when_they_are_wrong(tasker, tmp_path):
    (tmp_path / "own.yaml").write_text("name: own\nsteps: 5\n")
    (tmp_path / "host.toml").write_text('[templates]\npaths = ["own.yaml", "nowhere"]\n')
    ran = tasker("plugin", "check", "--config", "host.toml")
    assert ran.code == 3
    assert "own.yaml:2" in ran.err
    assert "host.toml:2: [templates] paths: nowhere does not exist" in ran.err
