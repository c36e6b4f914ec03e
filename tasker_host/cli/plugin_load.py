"""The plugins as a host would load them, short of starting it."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
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
    from tasker_host.plugins.alone import imported, name_of

    name = name or name_of(module)
    sys.path.insert(0, "")  # a plugin under development need not be installed
    with redirect_stdout(sys.stderr):
        found = imported(module, name)
    return roster_of(config, {name: found}) if isinstance(found, ModuleType) else found


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
