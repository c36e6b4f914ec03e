"""A plugin, for programs and for people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydantic import BaseModel

    from tasker_host.config import Config, Entry
    from tasker_host.errors import Problem
    from tasker_host.plugins import Contribution, Plugin
    from tasker_host.registry.compose import Registry

_WHERE = {"loop": "on the loop", "thread": "in a thread", "process": "in a process"}

_SHOWN_BY_ITSELF = {"plugin", "settings", "handlers", "resolvers", "templates", "lifespan", "warnings"}


def counted(gives: Mapping[str, int]) -> str:
    """`2 handlers, 1 template`"""
    return ", ".join(
        f"{count} {kind[:-1] if count == 1 and kind.endswith('s') else kind}" for kind, count in gives.items()
    )


def summary(found: Plugin) -> dict[str, Any]:
    """What is told of every plugin."""
    return {
        "name": found.name,
        "status": str(found.status),
        "version": found.version,
        "distribution": found.dist,
        "module": found.module,
        "required": found.required,
        "note": found.note,
        "gives": {} if found.contribution is None else found.contribution.gives(),
        "faults": [
            {"stage": str(fault.stage), "hook": fault.hook, "error": fault.error, "hint": fault.hint}
            for fault in found.faults
        ],
    }


def as_problem(found: Problem) -> dict[str, str]:
    return {"where": found.where, "message": found.message}


def details(found: Plugin, config: Config, registry: Registry) -> dict[str, Any]:
    """All that is known of one plugin."""
    told = summary(found)
    given = found.contribution
    if given is None:
        return told
    told["settings"] = _settings(found.name, given.settings, config)
    told["handlers"] = [
        {
            "name": handler.name,
            "version": handler.version,
            "path": handler.path,
            "runs_in": handler.runs_in,
            "alias_of": handler.alias_of or None,
            "given": [str(injected) for injected in handler.injected],
        }
        for handler in given.handlers
    ]
    told["resolvers"] = [{"name": one.name, "priority": one.priority} for one in given.resolvers]
    told["templates"] = [
        {
            "template": template.label,
            "steps": len(template.steps),
            "problems": [as_problem(problem) for problem in registry.problems_of(template)],
        }
        for template in given.templates
    ]
    told |= _others(given)
    told["lifespan"] = given.lifespan is not None
    told["warnings"] = [as_problem(warning) for warning in given.warnings]
    return told


def _others(given: Contribution) -> dict[str, list[str]]:
    """Names of what it gives of every other kind."""
    kinds = [field.name for field in fields(given) if field.name not in _SHOWN_BY_ITSELF]
    return {kind: [_name(item) for item in getattr(given, kind)] for kind in kinds}


def _name(item: Any) -> str:
    name = getattr(item, "name", None)
    if isinstance(name, str) and name:
        return name
    if (error := getattr(item, "error_type", None)) is not None:
        return str(error.__qualname__)
    if paths := getattr(item, "paths", None) or ([path] if (path := getattr(item, "path", None)) else None):
        return ", ".join(sorted(paths))
    return str(getattr(item, "__qualname__", repr(item)))


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
