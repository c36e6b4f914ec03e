"""The hooks, as a promise: what is documented of each, and the names that plugins import."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

import pluggy
import pytest

import tasker_host
from tasker_host.hooks import specs

HOOKS = {
    "tasker_settings": (),
    "tasker_handlers": ("settings",),
    "tasker_resolvers": ("settings",),
    "tasker_templates": ("settings",),
    "tasker_middleware": ("settings",),
    "tasker_classifiers": ("settings",),
    "tasker_executors": ("settings",),
    "tasker_publishers": ("settings",),
    "tasker_subscribers": ("settings",),
    "tasker_relays": ("settings",),
    "tasker_commands": (),
    "tasker_health": ("settings",),
    "tasker_routes": ("settings",),
    "tasker_lifespan": ("settings", "host"),
}


def test_these_are_all_hooks():
    manager = pluggy.PluginManager(specs.PROJECT)
    manager.add_hookspecs(specs)
    assert {name: tuple(caller.spec.argnames) for name, caller in vars(manager.hook).items()} == HOOKS


@pytest.mark.parametrize("name", HOOKS)
def test_every_hook_says_when_what_and_how_it_fails(name):
    text = inspect.getdoc(getattr(specs, name)) or ""
    places = [text.find(word) for word in ("**Called**", "**Return**", "**If it raises**", "**Since**")]
    assert places == sorted(places)
    assert places[0] > 0


@pytest.mark.parametrize("name", sorted(set(tasker_host.__all__) - {"Host", "Client", "SyncClient"}))
def test_every_public_name_is_there(name):
    assert getattr(tasker_host, name) is not None
    assert name in dir(tasker_host)


def test_another_name_is_not_there():
    with pytest.raises(AttributeError, match="module 'tasker_host' has no attribute 'StepHandlr'"):
        tasker_host.StepHandlr  # noqa: B018


def imported_by(statement: str) -> set[str]:
    program = f"import sys\n{statement}\nprint(*sys.modules)"
    root = Path(tasker_host.__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", program], cwd=root, check=True, capture_output=True, text=True)
    return set(done.stdout.split())


def test_importing_the_package_imports_nothing_else():
    assert not imported_by("import tasker_host") & {"pydantic", "pluggy", "asyncpg", "litestar", "pgmq"}


def test_what_plugins_import_is_light():
    over_http = {name for name in tasker_host.__all__ if "api" in name.lower()} | {"CircuitOpenError"}
    names = ", ".join(sorted(set(tasker_host.__all__) - {"Host", "Client", "SyncClient"} - over_http))
    heavy = {"asyncpg", "litestar", "pgmq", "click", "rich_click"}
    assert not imported_by(f"from tasker_host import {names}") & {*heavy, "httpx"}
    assert not imported_by(f"from tasker_host import {', '.join(over_http)}") & (heavy - {"click", "rich_click"})
