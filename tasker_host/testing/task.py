"""`run_task`: a task from its submission to its end, at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tasker_host.db.database import Database
from tasker_host.domain.template import TaskTemplate
from tasker_host.handlers.bound import bind
from tasker_host.plugins import load_plugins
from tasker_host.testing.effects import Effects, measured
from tasker_host.testing.given import Given, Plugins, Settings, Template, given, template_of
from tasker_host.testing.outcome import TaskRun, run_of
from tasker_host.testing.own_loop import in_own_loop
from tasker_host.testing.server import embedded_databases
from tasker_host.testing.stage import Stage, staged

TIMEOUT_SECONDS = 60.0
"""Real time that a task may take; only its handlers need any."""


def run_task(template: Template, context: Any = None, **options: Any) -> TaskRun:
    """Runs a task of `template` to its end on a real, throw-away database, and tells what became of it.

    See `run_task_async`, which takes the same arguments. May be called with or without a running event loop; handlers
    run on a loop of their own.
    """
    return in_own_loop(lambda: run_task_async(template, context, **options))


async def run_task_async(
    template: Template,
    context: Any = None,
    *,
    plugins: Plugins = (),
    handlers: Iterable[Any] = (),
    settings: Settings | None = None,
    config: Mapping[str, Any] | None = None,
    setup: Any = None,
    effects: Effects = None,
    timeout_seconds: float = TIMEOUT_SECONDS,
    **request: Any,
) -> TaskRun:
    """As `run_task`, on the loop of the caller.

    `template` is a TaskTemplate, its YAML, the path of a YAML file, or the `namespace/name` of one that a plugin gives.
    `plugins` are modules of hookimpls or their names, or a mapping from plugins' names to these; `handlers` are
    functions and classes that need no plugin. `settings` are those of the plugin, by plugin where there are several;
    or the settings model that `handlers` are given. `config` overrides configuration, by dotted key. `setup` is SQL, or
    a function of a connection, run before; `effects` are queries, tables or functions run afterwards, for
    `TaskRun.effects`. What is left are fields of the request: `start_at`, `priority`, `tags` and so on.

    Waiting takes no time: the clock of the database is moved to what is due next, a retry, a start or a deadline.
    Handlers themselves run in real time. Raises StillRunning when the task is not at rest after `timeout_seconds` of
    real time, PluginError, TemplateError and RequestError for what is not right with what was given.
    """
    known = with_template(template, given(plugins, handlers, [], settings, config))
    async with staged(known, embedded_databases(), setup=setup) as stage:
        task = await stage.submit(template, context, request)
        await stage.rest([task], timeout_seconds=timeout_seconds)
        left = await left_behind(stage, effects, all_tables=False)
        return await run_of(stage.host.database, task, left, stage.host.published)


async def left_behind(stage: Stage, effects: Effects, *, all_tables: bool) -> dict[str, Any]:
    database: Database = stage.host.database
    async with database.acquire() as connection:
        return await measured(connection, effects, all_tables=all_tables)


def with_template(template: Template, known: Given) -> Given:
    """What is given, and the template unless one of the plugins has it."""
    found = template_of(template)
    if found is None or _gives(known, found):
        return known
    return known.with_template(found)


def _gives(known: Given, template: TaskTemplate) -> bool:
    """Raises ValueError for another template of the same name and version."""
    config = known.configuration("postgresql://nobody@localhost/nothing")
    wanted = template.for_environment(config.environment)
    roster = load_plugins(config, bind=bind, extra=known.plugins, entry_points=known.entry_points)
    for contribution in roster.active():
        for theirs in contribution.templates:
            if theirs.label == template.label:
                if theirs.sha256() != wanted.sha256():
                    raise ValueError(
                        f"plugin '{contribution.plugin}' gives another template {template.label}: give this one another"
                        " version, or leave out the plugin and give its handlers"
                    )
                return True
    return False
