"""`tasker plugin`: what is installed, what each plugin gives, and what is wrong with it."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click
from click.exceptions import Exit

from tasker_host.cli.options import CANNOT_START, TaskerGroup, config_options, echo_json, json_option

if TYPE_CHECKING:
    from pydantic import BaseModel

    from tasker_host.config import Config, Entry
    from tasker_host.errors import Problem
    from tasker_host.plugins import Plugin, Roster
    from tasker_host.registry.compose import Registry


_WHERE = {"loop": "on the loop", "thread": "in a thread", "process": "in a process"}


@click.group("plugin", cls=TaskerGroup)
def plugin() -> None:
    """List, show and check plugins."""


@plugin.command("list")
@config_options
@json_option
def list_(config_root: Path | None, env: str | None, as_json: bool) -> None:
    """List every plugin that is installed or configured, with its faults."""
    _, roster = _loaded(config_root, env)
    if as_json:
        echo_json({"plugins": [_summary(found) for found in roster.plugins]})
        return
    from tasker_host.cli.tables import console, table

    listed = table("NAME", "VERSION", "STATUS", "GIVES", "FROM")
    for found in roster.plugins:
        listed.add_row(found.name, found.version or "–", str(found.status), _gives(found), found.dist or "–")
        for line in _faults(found):
            listed.add_row(f"  {line}")
    out = console()
    if roster.plugins:
        out.print(listed)
    else:
        click.echo("no plugins are installed: pip install one, such as tasker-examples", err=True)


@plugin.command("show")
@click.argument("name")
@config_options
@json_option
def show(name: str, config_root: Path | None, env: str | None, as_json: bool) -> None:
    """Show all that one plugin gives: settings, handlers with what they are given, templates, faults."""
    from tasker_host.registry.build import registry_of

    config, roster = _loaded(config_root, env)
    found = _named(roster, name)
    details = _details(found, config, registry_of(roster, config))
    if as_json:
        echo_json(details)
    else:
        _print_details(details)


@plugin.command("check")
@click.argument("module", required=False)
@config_options
@json_option
def check(module: str | None, config_root: Path | None, env: str | None, as_json: bool) -> None:
    """Start up as far as it goes without a database, and tell everything that is wrong; exit code 3 then.

    With MODULE, that module is checked as if it were an installed plugin, and nothing else is.
    """
    from tasker_host.registry.build import registry_of

    config, roster = _loaded(config_root, env, only=module)
    registry = registry_of(roster, config)
    wrong = [(found.name, line) for found in roster.plugins for line in _faults(found)]
    unavailable = [
        problem
        for template in registry.templates()
        for problem in registry.problems(template.namespace_name, template.name, template.version)
    ]
    doubts = [warning for given in roster.active() for warning in given.warnings]
    if as_json:
        echo_json(
            {
                "ok": not wrong and not unavailable,
                "plugins": [_summary(found) for found in roster.plugins],
                "unavailable": [_problem(found) for found in unavailable],
                "warnings": [_problem(found) for found in doubts],
            }
        )
    else:
        for name, line in wrong:
            click.echo(f"{name}: {line}", err=True)
        for problem in unavailable:
            click.echo(str(problem), err=True)
        for warning in doubts:
            click.echo(f"warning: {warning}", err=True)
        if not wrong and not unavailable:
            gives = [f"{given.plugin}: {_counted(given.gives())}" for given in roster.active()]
            click.echo("\n".join(["no faults", *gives]))
    if wrong or unavailable:
        raise Exit(CANNOT_START)


# Loading --------------------------------------------------------------------------------------------------------------


def _loaded(config_root: Path | None, env: str | None, *, only: str | None = None) -> tuple[Config, Roster]:
    from tasker_host.cli.running import quiet_logs
    from tasker_host.config import load
    from tasker_host.handlers.bound import bind
    from tasker_host.plugins import load_plugins

    config = load(config_root, env=env)
    quiet_logs(config)
    if only is None:
        return config, load_plugins(config, bind=bind)
    return config, load_plugins(config, bind=bind, extra={only.partition(".")[0]: _module(only)}, entry_points=False)


def _module(name: str) -> Any:
    import sys

    from tasker_host.errors import PluginError
    from tasker_host.plugins.fault import FaultyError, Stage, plugin_code

    sys.path.insert(0, "")  # a plugin under development need not be installed
    try:
        with plugin_code(Stage.IMPORT):
            return import_module(name)
    except FaultyError as error:
        raise PluginError(f"module '{name}' cannot be checked: {error}") from None


def _named(roster: Roster, name: str) -> Plugin:
    from tasker_host.domain.suggest import did_you_mean
    from tasker_host.errors import InvalidRequest

    found = roster.plugin(name)
    if found is None:
        known = [other.name for other in roster.plugins]
        there = f"; there are: {', '.join(known)}" if known else "; none is installed"
        raise InvalidRequest(f"no plugin '{name}'{did_you_mean(name, known) or there}")
    return found


# Shown ----------------------------------------------------------------------------------------------------------------


def _faults(found: Plugin) -> list[str]:
    return [str(fault) for fault in found.faults]


def _counted(gives: dict[str, int]) -> str:
    return ", ".join(
        f"{count} {kind[:-1] if count == 1 and kind.endswith('s') else kind}" for kind, count in gives.items()
    )


def _gives(found: Plugin) -> str:
    if found.contribution is None:
        return "–"
    return _counted(found.contribution.gives()) or "nothing"


def _summary(found: Plugin) -> dict[str, Any]:
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


def _problem(found: Problem) -> dict[str, str]:
    return {"where": found.where, "message": found.message}


def _details(found: Plugin, config: Config, registry: Registry) -> dict[str, Any]:
    details = _summary(found)
    given = found.contribution
    if given is None:
        return details
    models: dict[str, type[BaseModel]] = {} if given.settings is None else {found.name: type(given.settings)}
    details["settings"] = [_setting(entry) for entry in _settings(found.name, config, models)]
    if given.settings is not None:
        said = {entry["key"] for entry in details["settings"]}
        details["settings"] += _defaults(given.settings, said)
    details["handlers"] = [
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
    details["resolvers"] = [{"name": one.name, "priority": one.priority} for one in given.resolvers]
    details["templates"] = [
        {
            "template": template.label,
            "steps": len(template.steps),
            "problems": [
                _problem(problem)
                for problem in registry.problems(template.namespace_name, template.name, template.version)
            ],
        }
        for template in given.templates
    ]
    details["middleware"] = [layer.name for layer in given.middleware]
    details["classifiers"] = [classifier.error_type.__qualname__ for classifier in given.classifiers]
    details["commands"] = [command.name for command in given.commands]
    details["warnings"] = [_problem(warning) for warning in given.warnings]
    return details


def _settings(name: str, config: Config, models: dict[str, type[BaseModel]]) -> list[Entry]:
    return [entry for entry in config.describe(models) if entry.path[:3] == ("plugins", name, "settings")]


def _setting(entry: Entry) -> dict[str, Any]:
    return {"key": ".".join(map(str, entry.path[3:])), "value": entry.value, "origin": str(entry.origin)}


def _defaults(settings: BaseModel, said: set[str]) -> list[dict[str, Any]]:
    """What the plugin's own model says where nothing is configured."""
    values = settings.model_dump(mode="json", exclude={key.partition(".")[0] for key in said})
    return [{"key": key, "value": value, "origin": "the plugin's default"} for key, value in values.items()]


def _print_details(details: dict[str, Any]) -> None:
    from tasker_host.cli.tables import console

    out = console()
    from_where = f"{details['distribution']} {details['version']}".strip()
    out.print(f"{details['name']}  {details['status']}", style="bold")
    out.print(f"from {from_where or 'the configuration'}, module {details['module'] or '–'}", markup=False)
    if details["note"]:
        out.print(details["note"], markup=False)
    for fault in details["faults"]:
        hook = f"{fault['hook']}: " if fault["hook"] else ""
        hint = f"; {fault['hint']}" if fault["hint"] else ""
        out.print(f"  {fault['stage']} · {hook}{fault['error']}{hint}", markup=False)
    sections = {
        "settings": [f"{s['key']} = {s['value']!r}   # {s['origin']}" for s in details.get("settings", ())],
        "handlers": _handler_lines(details.get("handlers", ())),
        "resolvers": [f"{one['name']}   priority {one['priority']}" for one in details.get("resolvers", ())],
        "templates": _template_lines(details.get("templates", ())),
        "middleware": details.get("middleware", ()),
        "classifiers": details.get("classifiers", ()),
        "commands": details.get("commands", ()),
        "warnings": [f"{w['where']}: {w['message']}" for w in details.get("warnings", ())],
    }
    for title, lines in sections.items():
        if lines:
            out.print(f"\n{title}", style="bold")
            for line in lines:
                out.print(f"  {line}", markup=False)


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
        lines.append(f"{template['template']}   {template['steps']} steps")
        lines += [f"    unavailable: {problem['message']} ({problem['where']})" for problem in template["problems"]]
    return lines
