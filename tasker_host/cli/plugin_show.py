"""A plugin, for programs and for people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydantic import BaseModel

    from tasker_host.config import Config, Entry
    from tasker_host.plugins import Plugin
    from tasker_host.registry.compose import Registry

_WHERE = {"loop": "on the loop", "thread": "in a thread", "process": "in a process"}


def counted(gives: Mapping[str, int]) -> str:
    """`2 handlers, 1 template`"""
    return ", ".join(
        f"{count} {kind[:-1] if count == 1 and kind.endswith('s') else kind}" for kind, count in gives.items()
    )


def details(found: Plugin, config: Config, registry: Registry) -> dict[str, Any]:
    """All that is known of one plugin."""
    from tasker_host.registry.told import given_by, summary

    given = found.contribution
    if given is None:
        return summary(found)
    return {
        **summary(found),
        "settings": _settings(found.name, given.settings, config),
        **given_by(given, registry),
    }


# Settings -------------------------------------------------------------------------------------------------------------


def _settings(name: str, settings: BaseModel | None, config: Config) -> list[dict[str, Any]]:
    models: dict[str, type[BaseModel]] = {} if settings is None else {name: type(settings)}
    entries = [entry for entry in config.describe(models) if entry.path[:3] == ("plugins", name, "settings")]
    shown = [_setting(entry) for entry in entries]
    if settings is not None:
        shown += _defaults(settings, {entry["key"] for entry in shown})
    return shown


def _setting(entry: Entry) -> dict[str, Any]:
    return {"key": ".".join(map(str, entry.path[3:])), "value": entry.value, "origin": str(entry.origin)}


def _defaults(settings: BaseModel, said: set[str]) -> list[dict[str, Any]]:
    """What the plugin's own model says where nothing is configured."""
    values = settings.model_dump(mode="json", fallback=repr, exclude={key.partition(".")[0] for key in said})
    return [{"key": key, "value": value, "origin": "the plugin's default"} for key, value in values.items()]


# For people -----------------------------------------------------------------------------------------------------------


def print_details(told: Mapping[str, Any]) -> None:
    from tasker_host.cli.tables import console

    out = console()
    from_where = f"{told['distribution']} {told['version']}".strip()
    required = ", required" if told["required"] else ""
    out.print(f"{told['name']}  {told['status']}{required}", style="bold", markup=False)
    out.print(f"from {from_where or 'the configuration'}, module {told['module'] or '–'}", markup=False)
    if told["note"]:
        out.print(told["note"], markup=False)
    for fault in told["faults"]:
        hook = f"{fault['hook']}: " if fault["hook"] else ""
        hint = f"; {fault['hint']}" if fault["hint"] else ""
        out.print(f"  {fault['stage']} · {hook}{fault['error']}{hint}", markup=False)
    if "handlers" not in told:
        return
    if told["gives"]:
        out.print(f"gives {counted(told['gives'])}", markup=False)
    lines: dict[str, Iterable[str]] = {
        "settings": [f"{s['key']} = {s['value']!r}   # {s['origin']}" for s in told["settings"]],
        "handlers": _handler_lines(told["handlers"]),
        "resolvers": [f"{one['name']}   priority {one['priority']}" for one in told["resolvers"]],
        "templates": _template_lines(told["templates"]),
    }
    lines |= {kind: names for kind, names in told.items() if kind not in lines and _is_names(names)}
    lines["warnings"] = [f"{w['where']}: {w['message']}" for w in told["warnings"]]
    for title, found in lines.items():
        if found:
            out.print(f"\n{title}", style="bold")
            for line in found:
                out.print(f"  {line}", markup=False)


def _is_names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _handler_lines(handlers: list[dict[str, Any]]) -> list[str]:
    lines = []
    for handler in handlers:
        if handler["alias_of"]:
            lines.append(f"{handler['name']}   another name of {handler['alias_of']}")
            continue
        where = _WHERE.get(handler["runs_in"], f"in {handler['runs_in']}")
        lines.append(f"{handler['name']} {handler['version']}   {handler['path']}, {where}")
        lines += [f"    {given}" for given in handler["given"]]
    return lines


def _template_lines(templates: list[dict[str, Any]]) -> list[str]:
    lines = []
    for template in templates:
        lines.append(f"{template['template']}   {counted({'steps': template['steps']})}")
        lines += [f"    unavailable: {problem['message']} ({problem['where']})" for problem in template["problems"]]
    return lines
