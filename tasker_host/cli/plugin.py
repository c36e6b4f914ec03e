"""`tasker plugin`: what is installed, what each plugin gives, and what is wrong with it."""

from __future__ import annotations

from pathlib import Path

import rich_click as click

from tasker_host.cli.options import TaskerGroup, config_options, echo_json, json_option
from tasker_host.cli.plugin_check import check
from tasker_host.cli.plugin_doctor import doctor
from tasker_host.cli.plugin_new import new


@click.group("plugin", cls=TaskerGroup)
def plugin() -> None:
    """List, show, check, explain and start plugins."""


@plugin.command("list")
@config_options
@json_option
def list_(config_root: Path | None, env: str | None, as_json: bool) -> None:
    """List every plugin that is installed or configured, with its faults."""
    from tasker_host.cli.plugin_load import loaded
    from tasker_host.cli.plugin_show import counted
    from tasker_host.registry.told import summary

    _, roster = loaded(config_root, env)
    plugins = roster.others()
    if as_json:
        echo_json({"plugins": [summary(found) for found in plugins]})
        return
    if not plugins:
        click.echo("no plugins are installed: pip install one, or write one: tasker plugin new NAME", err=True)
        return
    rows = [("NAME", "VERSION", "STATUS", "GIVES", "FROM")]
    for found in plugins:
        gives = "–" if found.contribution is None else counted(found.contribution.gives()) or "nothing"
        rows.append((found.name, found.version or "–", str(found.status), gives, found.dist or "–"))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    # Not a table of rich's: a fault is a line of its own, as long as it is, and moves no column.
    below = [[], *([*map(str, found.faults), *([found.note] if found.note else [])] for found in plugins)]
    for row, lines in zip(rows, below, strict=True):
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
        for line in lines:
            click.echo(f"  {line}")


@plugin.command("show")
@click.argument("name")
@config_options
@json_option
def show(name: str, config_root: Path | None, env: str | None, as_json: bool) -> None:
    """Show all that one plugin gives: settings, handlers with what they are given, templates, faults."""
    from tasker_host.cli.plugin_load import loaded, named
    from tasker_host.cli.plugin_show import details, print_details
    from tasker_host.registry.build import registry_of

    config, roster = loaded(config_root, env)
    found = details(named(roster, name), config, registry_of(roster, config))
    if as_json:
        echo_json(found)
    else:
        print_details(found)


plugin.add_command(check)
plugin.add_command(new)
plugin.add_command(doctor)
