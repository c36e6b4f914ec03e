"""`tasker plugin check`: every fault that a start would show, without a host or a database."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click
from click.exceptions import Exit

from tasker_host.cli.options import CANNOT_START, TaskerCommand, config_options, echo_json, json_option

if TYPE_CHECKING:
    from tasker_host.errors import Problem


@click.command("check", cls=TaskerCommand)
@click.argument("module", required=False)
@click.option(
    "--name", help="With MODULE: as which plugin, for its settings. [default: by its entry point, else its package]"
)
@config_options
@json_option
def check(module: str | None, name: str | None, config_root: Path | None, env: str | None, as_json: bool) -> None:
    """Start up as far as it goes without a database, and tell everything that is wrong; exit code 3 then.

    With MODULE, that module is checked as if it were an installed plugin, and nothing else is.
    """
    from tasker_host.cli.plugin_load import loaded, only
    from tasker_host.cli.plugin_show import counted
    from tasker_host.cli.running import quiet_logs
    from tasker_host.config import load
    from tasker_host.errors import TemplateError
    from tasker_host.registry.build import registry_of
    from tasker_host.registry.told import as_problem, summary

    if module is None:
        if name is not None:
            raise click.UsageError("--name goes with a MODULE")
        config, roster = loaded(config_root, env)
    else:
        config = load(config_root, env=env)
        quiet_logs(config)
        roster = only(config, module, name)
    unavailable: list[Problem] = []
    try:
        registry = registry_of(roster, config)
        unavailable = [problem for template in registry.templates() for problem in registry.problems_of(template)]
    except TemplateError as error:
        unavailable = list(error.problems)  # of the user's own files; what is wrong with plugins is told all the same
    wrong = [(found.name, str(fault)) for found in roster.plugins for fault in found.faults]
    doubts = [warning for given in roster.active() for warning in given.warnings]
    is_fine = not wrong and not unavailable
    if as_json:
        echo_json(
            {
                "ok": is_fine,
                "plugins": [summary(found) for found in roster.others()],
                "unavailable": [as_problem(found) for found in unavailable],
                "warnings": [as_problem(found) for found in doubts],
            }
        )
    else:
        for plugin, line in wrong:
            click.echo(f"{plugin}: {line}", err=True)
        for problem in unavailable:
            click.echo(str(problem), err=True)
        for warning in doubts:
            click.echo(f"warning: {warning}", err=True)
        if is_fine:
            others = [plugin.contribution for plugin in roster.others() if plugin.contribution is not None]
            gives = [f"{given.plugin}: {counted(given.gives()) or 'nothing'}" for given in others]
            click.echo("\n".join(["no faults", *gives]))
    if not is_fine:
        raise Exit(CANNOT_START)
