"""One module as a plugin by itself, whether it is installed or not."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from importlib_metadata import entry_points

from tasker_host.plugins.candidate import GIVEN, GROUP
from tasker_host.plugins.fault import FaultyError, Stage, plugin_code
from tasker_host.plugins.roster import Plugin, Roster, Status


def name_of(module: str) -> str:
    """The name of the plugin that `module` is or would be: its entry point's, else its package's without `tasker_`."""
    named = [point.name for point in entry_points(group=GROUP) if point.value == module]
    return str(named[0]) if len(named) == 1 else module.partition(".")[0].removeprefix("tasker_")


def imported(module: str, name: str) -> ModuleType | Roster:
    """The module, or where it cannot be imported the roster that says so of the plugin `name`."""
    try:
        with plugin_code(Stage.IMPORT):
            return import_module(module)
    except FaultyError as error:
        return Roster((Plugin(name, Status.ACTIVE, GIVEN, module=module).failed(*error.faults),))
