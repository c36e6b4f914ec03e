"""`tasker config`: what is configured, and where each value comes from."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from tasker_host.cli.options import TaskerGroup, config_options, echo_json, json_option

if TYPE_CHECKING:
    from tasker_host.config import Config, Entry

# tasker_host.config is imported inside the commands: it brings pydantic, which `tasker --help` has no use for.


@click.group("config", cls=TaskerGroup)
def config() -> None:
    """Show and check the configuration."""


@config.command("show")
@click.option("--origin", "with_origin", is_flag=True, help="Also the file and line, or variable, of each value.")
@config_options
@json_option
def show(with_origin: bool, config_root: Path | None, env: str | None, as_json: bool) -> None:
    """Print every setting as TOML. Secrets are shown as •••."""
    from tasker_host.config import load

    loaded = load(config_root, env=env)
    if as_json:
        echo_json(_head(loaded) | {"settings": [_as_json(entry) for entry in loaded.describe()]})
        return
    click.echo(f"# environment {loaded.environment}, {_root(loaded)}")
    for line in _as_toml(loaded.describe(), with_origin=with_origin):
        click.echo(line)


@config.command("check")
@config_options
@json_option
def check(config_root: Path | None, env: str | None, as_json: bool) -> None:
    """Read the whole configuration and tell everything that is wrong with it."""
    from tasker_host.config import load

    loaded = load(config_root, env=env)
    if as_json:
        echo_json({"ok": True} | _head(loaded))
    else:
        click.echo(f"the configuration is valid (environment {loaded.environment}, {_root(loaded)})")


def _head(loaded: Config) -> dict[str, Any]:
    return {
        "environment": loaded.environment,
        "root": None if loaded.root is None else str(loaded.root),
        "files": [str(file) for file in loaded.files],
    }


def _root(loaded: Config) -> str:
    return "only the files that ship" if loaded.root is None else f"files of {loaded.root}"


def _as_json(entry: Entry) -> dict[str, Any]:
    return {"key": entry.key, "value": entry.value, "origin": str(entry.origin), "secret": entry.secret}


def _as_toml(entries: Sequence[Entry], *, with_origin: bool) -> list[str]:
    """The entries under the headers of their tables, origins as comments in a column of their own."""
    tables: dict[str, list[tuple[str, str]]] = {}
    for entry in entries:
        tables.setdefault(entry.table, []).append((f"{entry.name} = {_value(entry.value)}", str(entry.origin)))
    lines = []
    for table, settings in tables.items():
        width = max(len(text) for text, _ in settings)
        lines += ["", f"[{table}]"]
        lines += [f"{text:<{width}}  # {origin}" if with_origin else text for text, origin in settings]
    return lines


def _value(value: Any) -> str:
    match value:
        case dict():
            from tasker_host.config import dotted

            inside = ", ".join(f"{dotted((key,))} = {_value(item)}" for key, item in value.items())
            return f"{{ {inside} }}" if inside else "{}"
        case list() | tuple():
            return f"[{', '.join(_value(item) for item in value)}]"
        case bool():
            return "true" if value else "false"
        case str():
            # As in JSON, but for DEL, which TOML wants escaped.
            return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
        case _:
            return str(value)
