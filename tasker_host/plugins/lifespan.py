"""Entering and leaving what plugins open while a host serves."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import structlog

from tasker_host.plugins.executors import with_executors
from tasker_host.plugins.fault import FaultyError, Stage, fault_of
from tasker_host.plugins.roster import Plugin, Roster

log = structlog.get_logger("tasker.plugins")

_HOOK = "tasker_lifespan"


@asynccontextmanager
async def lifespans(roster: Roster, host: object) -> AsyncIterator[Roster]:
    """Inside, the lifespans of all plugins are entered; they are left last in, first out.

    Gives the roster as it is now: a plugin whose lifespan raised has failed, and gives nothing any more. Raises
    PluginError when a required one is among those, after all were tried.
    """
    entered: list[tuple[str, AbstractAsyncContextManager[Any]]] = []
    try:
        for plugin in roster.plugins:
            try:
                manager = await _enter(plugin, host)
            except FaultyError as error:
                roster = roster.with_plugin(plugin.failed(*error.faults))
                continue
            if manager is not None:
                entered.append((plugin.name, manager))
        roster = with_executors(roster)
        roster.check_required()
        yield roster
    finally:
        for name, manager in reversed(entered):
            await _leave(name, manager)


async def _enter(plugin: Plugin, host: object) -> AbstractAsyncContextManager[Any] | None:
    enter = None if plugin.contribution is None else plugin.contribution.lifespan
    manager = None if enter is None else enter(host)
    if manager is None:
        return None
    # Cancellation is the host's, whoever's code it reaches.
    try:
        await manager.__aenter__()
    except (Exception, SystemExit) as error:
        raise FaultyError([fault_of(error, Stage.LIFESPAN, _HOOK)]) from error
    return manager


async def _leave(name: str, manager: AbstractAsyncContextManager[Any]) -> None:
    # Whatever ended the host, leaving is orderly: a plugin can neither see nor swallow the reason.
    try:
        await manager.__aexit__(None, None, None)
    except (Exception, SystemExit) as error:
        log.warning("lifespan raised when it was left", plugin=name, error=str(fault_of(error, Stage.LIFESPAN, _HOOK)))
