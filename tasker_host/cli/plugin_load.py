"""The plugins as a host would load them, short of starting it."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tasker_host.config import Config
    from tasker_host.plugins import Plugin, Roster


def loaded(config_root: Path | None, env: str | None) -> tuple[Config, Roster]:
    """The configuration, and every plugin that is installed. Raises ConfigError."""
    from tasker_host.cli.running import quiet_logs
    from tasker_host.config import load

    config = load(config_root, env=env)
    quiet_logs(config)
    return config, roster_of(config)


def roster_of(config: Config, modules: dict[str, ModuleType] | None = None) -> Roster:
    """Every plugin that is installed, or only `modules` by name."""
    from tasker_host.handlers.bound import bind
    from tasker_host.plugins import load_plugins
    from tasker_host.worker.builtin import own_plugin

    # What a plugin prints while it is imported is no part of the answer.
    with redirect_stdout(sys.stderr):
        return load_plugins(config, bind=bind, own=own_plugin(config), extra=modules, entry_points=modules is None)


def only(config: Config, module: str, name: str | None) -> Roster:
    """The roster of one module alone, as the plugin `name`, else as its entry point or its package says."""
    from tasker_host.plugins import Plugin, Roster, Status
    from tasker_host.plugins.fault import FaultyError, Stage, plugin_code

    name = name or _name_of(module)
    sys.path.insert(0, "")  # a plugin under development need not be installed
    try:
        with plugin_code(Stage.IMPORT), redirect_stdout(sys.stderr):
            imported = import_module(module)
    except FaultyError as error:
        from tasker_host.plugins.candidate import GIVEN

        return Roster((Plugin(name, Status.ACTIVE, GIVEN, module=module).failed(*error.faults),))
    return roster_of(config, {name: imported})


def _name_of(module: str) -> str:
    from importlib_metadata import entry_points

    from tasker_host.plugins.candidate import GROUP

    named = [point.name for point in entry_points(group=GROUP) if point.value == module]
    return named[0] if len(named) == 1 else module.partition(".")[0].removeprefix("tasker_")


def named(roster: Roster, name: str) -> Plugin:
    """Raises InvalidRequest."""
    from tasker_host.domain.suggest import did_you_mean
    from tasker_host.errors import InvalidRequest

    found = roster.plugin(name)
    if found is None:
        known = [other.name for other in roster.others()]
        there = f"; there are: {', '.join(known)}" if known else "; none is installed"
        raise InvalidRequest(f"no plugin '{name}'{did_you_mean(name, known) or there}")
    return found
