"""`tasker config` prints data on stdout, talk on stderr, and exits with the right code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest
import rich_click as click
from click.testing import CliRunner, Result

from tasker_host.cli.config import config
from tasker_host.cli.options import TaskerGroup, json_option
from tasker_host.errors import (
    ConfigError,
    DatabaseUnavailable,
    PermanentError,
    PluginError,
    TaskerError,
    TaskNotFound,
    TemplateError,
)


@dataclass
class Given:
    """What the group above gives to its commands."""

    config_root: Path | None = None
    env: str | None = None
    json: bool = False


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name == "DATABASE_URL" or name.upper().startswith("TASKER_")]:
        monkeypatch.delenv(name)


def run(*arguments: str, given: Given | None = None) -> Result:
    return CliRunner().invoke(config, arguments, obj=given)


def file(text: str, name: str = "tasker.toml") -> str:
    Path(name).write_text(text, encoding="utf-8")
    return name


def test_show_prints_toml():
    name = file(
        '[worker]\nnamespaces = ["a"]\nid = "x\\"\\u007f"\n[plugins.p.settings]\nat = 2026-01-02\nhosts = [{ n = 1.5 }]'
    )
    result = run("show", "--config", name)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.startswith('# environment development, files of tasker.toml\n\n[database]\nurl = ""\n')
    shown = tomllib.loads(result.stdout)
    assert shown["worker"]["namespaces"] == ["a"]
    assert shown["worker"]["id"] == 'x"\x7f'
    assert shown["worker"]["retry"] == {"backoff": "exponential", "base_ms": 1000, "max_ms": 60000, "jitter": 0.15}
    assert str(shown["plugins"]["p"]["settings"]["at"]) == "2026-01-02"
    assert shown["plugins"]["p"]["settings"]["hosts"] == [{"n": 1.5}]


def test_show_prints_valid_toml_when_layers_mix_keys_and_tables():
    for place, text in [("base", "a = 1\n[plugins.p.settings.t]\nx = 1"), ("environments/development", "b = 2")]:
        folder = Path("config", place)
        folder.mkdir(parents=True)
        (folder / "p.toml").write_text(f"[plugins.p.settings]\n{text}", encoding="utf-8")
    shown = tomllib.loads(run("show").stdout)
    assert shown["plugins"]["p"]["settings"] == {"a": 1, "b": 2, "t": {"x": 1}}


def test_show_with_origins_keeps_them_in_a_column(monkeypatch):
    monkeypatch.setenv("TASKER__WEB__PORT", "1")
    name = file("[web]\nenabled = false")
    lines = run("show", "--origin", "--config", name).stdout.splitlines()
    start = lines.index("[web]")
    assert lines[start + 1 : start + 5] == [
        "enabled = false                   # tasker.toml:2",
        'host = "127.0.0.1"                # shipped base/web.toml:7',
        "port = 1                          # variable TASKER__WEB__PORT",
        "request_body_max_bytes = 2097152  # shipped base/web.toml:11",
    ]


def test_show_as_json(monkeypatch):
    monkeypatch.setenv("DATABASE_URL", "postgresql://a:hunter2@h/d")
    result = run("show", "--json", "--env", "test")
    shown = json.loads(result.stdout)
    assert (shown["environment"], shown["root"]) == ("test", None)
    assert shown["settings"][0] == {
        "key": "database.url",
        "value": "postgresql://a:•••@h/d",
        "origin": "shipped base/database.toml:6 (DATABASE_URL)",
        "secret": False,
    }
    assert "hunter2" not in result.output


def test_check_says_that_all_is_well():
    result = run("check")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == "the configuration is valid (environment development, only the files that ship)\n"
    assert json.loads(run("check", "--json").stdout)["ok"] is True


def test_check_tells_what_is_wrong_on_stderr():
    result = run("check", "--config", file("[worker]\nslot = 5\nmode = 1"))
    assert (result.exit_code, result.stdout) == (3, "")
    assert result.stderr == (
        "error: the configuration is not valid (environment development)\n"
        "  tasker.toml:2: [worker] slot: unknown key; did you mean 'slots'?\n"
        "  tasker.toml:3: [worker] mode: must be 'hybrid', 'event_driven' or 'polling' (got 1)\n"
    )


def test_check_tells_what_is_wrong_as_json_on_stdout():
    result = run("check", "--json", "--config", file("[worker]\nslot = 5"))
    assert (result.exit_code, result.stderr) == (3, "")
    assert json.loads(result.stdout) == {
        "error": {
            "code": "CONFIG_INVALID",
            "message": "the configuration is not valid (environment development)",
            "problems": [
                {"where": "tasker.toml:2", "message": "[worker] slot: unknown key; did you mean 'slots'?"},
            ],
        }
    }


def test_options_of_the_group_above_count_where_the_command_has_none():
    given = Given(Path(file("[worker]\nslots = 5")), "test", json=True)
    assert json.loads(run("check", given=given).stdout)["environment"] == "test"
    assert json.loads(run("check", "--env", "production", given=given).stdout)["environment"] == "production"
    assert json.loads(run("check", given=given).stdout)["root"] == "tasker.toml"
    assert json.loads(run("check", "--config", file("", "other.toml"), given=given).stdout)["root"] == "other.toml"
    broken = Given(Path(file("x")), json=True)
    assert json.loads(run("check", given=broken).stdout)["error"]["code"] == "CONFIG_INVALID"


def test_a_wrong_option_is_wrong_usage():
    assert run("show", "--orgin").exit_code == 2


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigError("x"), 3),
        (PluginError("x"), 3),
        (TemplateError("x"), 3),
        (DatabaseUnavailable("x"), 3),
        (TaskNotFound("x"), 2),
        (PermanentError("x"), 1),
        (TaskerError("x"), 1),
        (KeyboardInterrupt(), 130),
    ],
)
def test_each_error_has_its_exit_code(error, code):
    @click.group(cls=TaskerGroup)
    def group() -> None: ...

    @group.command()
    @json_option
    def ours(as_json: bool) -> None:
        raise error

    @click.command()
    def of_a_plugin() -> None:
        raise error

    group.add_command(of_a_plugin)
    expected = "" if code == 130 else "error: x\n"
    for name in ("ours", "of-a-plugin"):
        result = CliRunner().invoke(group, [name])
        assert (result.exit_code, result.stdout, result.stderr) == (code, "", expected)


def test_an_error_without_problems_is_json_too():
    @click.group(cls=TaskerGroup)
    def group() -> None: ...

    @group.group()
    def inner() -> None: ...

    @inner.command()
    @json_option
    def fail(as_json: bool) -> None:
        raise DatabaseUnavailable("no server at h:5432")

    result = CliRunner().invoke(group, ["inner", "fail", "--json"])
    assert result.exit_code == 3
    assert json.loads(result.stdout) == {
        "error": {"code": "DATABASE_UNAVAILABLE", "message": "no server at h:5432", "problems": []}
    }


def test_help_needs_none_of_the_heavy_libraries():
    heavy = {"pydantic", "asyncpg", "litestar", "pgmq", "jsonschema", "structlog"}
    code = f"import sys, tasker_host.cli.config; print(sorted({heavy} & set(sys.modules)))"
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2]
    )
    assert found.stdout == "[]\n"
