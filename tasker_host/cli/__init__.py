"""The `tasker` command. One file a noun, loaded when it is asked for."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import rich_click as click

from tasker_host.cli.options import TaskerGroup
from tasker_host.domain.suggest import did_you_mean
from tasker_host.errors import TaskerError

OWN_COMMANDS = {
    "run": "tasker_host.cli.run:run",
    "task": "tasker_host.cli.task_group:task",
    "step": "tasker_host.cli.step:step",
    "worker": "tasker_host.cli.worker:worker",
    "limit": "tasker_host.cli.limit:limit",
    "namespace": "tasker_host.cli.limit:namespace",
    "handler": "tasker_host.cli.limit:handler",
    "dlq": "tasker_host.cli.dlq:dlq",
    "event": "tasker_host.cli.event:event",
    "template": "tasker_host.cli.template:template",
    "generate": "tasker_host.cli.generate:generate",
    "plugin": "tasker_host.cli.plugin:plugin",
    "config": "tasker_host.cli.config:config",
    "db": "tasker_host.cli.db:db",
    "certify": "tasker_host.cli.certify:certify",
    "demo": "tasker_host.cli.demo:demo",
}
"""Where each command of our own is."""


class _Commands(TaskerGroup):
    """Our commands, and those of plugins, which are loaded only for a name that is not ours, or to be listed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*OWN_COMMANDS, *sorted(self._of_plugins(ctx) if _some_plugin_has_commands() else ())]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in OWN_COMMANDS:
            module, _, attribute = OWN_COMMANDS[cmd_name].partition(":")
            command: click.Command = getattr(import_module(module), attribute)
            return command
        return self._of_plugins(ctx).get(cmd_name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0] if args else ""
        if name and not name.startswith("-") and self.get_command(ctx, name) is None:
            known = self.list_commands(ctx)
            ctx.fail(f"no command {name!r}{did_you_mean(name, known)}; there are: {', '.join(known)}")
        return super().resolve_command(ctx, args)

    def _of_plugins(self, ctx: click.Context) -> dict[str, click.Command]:
        # Kept for this invocation: listing asks for each command by name.
        found: dict[str, click.Command] | None = ctx.meta.get(__name__)
        if found is None:
            found = ctx.meta[__name__] = _plugin_commands()
        return found


def _plugin_commands() -> dict[str, click.Command]:
    from tasker_host.config import load
    from tasker_host.handlers.bound import bind
    from tasker_host.plugins import load_plugins

    try:
        roster = load_plugins(load(), bind=bind)
    except TaskerError:
        return {}  # `tasker config check` and every other command tell what is wrong
    return {str(command.name): command for contribution in roster.active() for command in contribution.commands}


def _some_plugin_has_commands() -> bool:
    """Looked up in the text of the plugins' modules: to import them would make `tasker --help` slow."""
    import importlib_metadata

    for entry_point in importlib_metadata.entry_points(group="tasker_host.plugins"):
        try:
            spec = find_spec(entry_point.module)
            if spec is not None and spec.origin and "tasker_commands" in Path(spec.origin).read_text("utf-8"):
                return True
        except (ImportError, ValueError, OSError, AttributeError):
            continue
    return False


@click.group(
    "tasker",
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 done, 1 the work failed, 2 wrong usage, 3 the host cannot start.",
)
@click.version_option(package_name="tasker-host", prog_name="tasker")
def tasker() -> None:
    """A workflow engine for Python people who already run PostgreSQL."""


def main(arguments: list[str] | None = None) -> Any:
    """The entry point of the `tasker` script."""
    return tasker.main(args=arguments, prog_name="tasker")
