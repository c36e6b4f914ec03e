"""What tests of whole hosts share: plugins made on the spot, and hosts with only these."""

from __future__ import annotations

import logging
import sys
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from types import ModuleType
from typing import Any
from uuid import UUID

import structlog
from click.testing import CliRunner, Result

from tasker_host import TaskTemplate, hookimpl
from tasker_host.cli import tasker
from tasker_host.config import Config, load
from tasker_host.db.queries import Row, tasks_get
from tasker_host.domain.request import request_from_data
from tasker_host.domain.source import parse_template
from tasker_host.host import Host


def logs_on_stderr() -> None:
    """For programs whose stdout is read by the test that started them."""
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))


def plugin(handlers: Iterable[Any], templates: Iterable[str] = (), **hooks: Callable[..., Any]) -> ModuleType:
    """A module of hookimpls that gives these handlers and YAML templates; `hooks` are more of them by name."""
    handlers = list(handlers)
    parsed = [template(text) for text in templates]
    module = ModuleType("made_by_a_test")

    def tasker_handlers() -> list[Any]:
        return handlers

    def tasker_templates() -> list[TaskTemplate]:
        return parsed

    for hook in (tasker_handlers, tasker_templates):
        setattr(module, hook.__name__, hookimpl(hook))
    for name, hook in hooks.items():
        hook.__name__ = name
        setattr(module, name, hookimpl(hook))
    return module


def template(text: str) -> TaskTemplate:
    found, _ = parse_template(text, source="template.yaml")
    return found


def chain(name: str, *callables: str, **retry: Any) -> str:
    """YAML of a template `tests/<name>` whose steps run one after the other, each named as its handler."""
    lines = [f"name: {name}", "namespace_name: tests", "version: 1.0.0", "steps:"]
    before = ""
    for called in callables:
        lines += [f"  - name: {called}", f"    handler: {{callable: {called}}}", f"    dependencies: [{before}]"]
        if retry:
            lines.append(f"    retry: {{{', '.join(f'{key}: {value}' for key, value in retry.items())}}}")
        before = called
    return "\n".join(lines)


def configured(dsn: str, **overrides: Any) -> Config:
    """The configuration of the test environment on this database; `worker__slots=1` overrides `worker.slots`."""
    settings = {"database.url": dsn, "database.auto_migrate": "always", "web.port": 0}
    settings |= {key.replace("__", "."): value for key, value in overrides.items()}
    return load(env="test", environ={}, overrides=settings)


@asynccontextmanager
async def running_host(dsn: str, *plugins: ModuleType, worker: bool = True, **overrides: Any) -> AsyncIterator[Host]:
    """A host with these plugins only."""
    named = {f"p{number}": module for number, module in enumerate(plugins)}
    async with Host(configured(dsn, **overrides), plugins=named, entry_points=False, worker=worker) as host:
        yield host


async def submit(host: Host, name: str, context: Any = None, **more: Any) -> UUID:
    request = {"namespace": "tests", "name": name, "context": context or {}, **more}
    return await host.submissions.submit(request_from_data(request))


async def ended(host: Host, *tasks: UUID, timeout_seconds: float = 20) -> list[Row]:
    """The tasks at their end, with their steps."""
    await host.watch.settled(tasks, timeout_seconds=timeout_seconds)
    return await tasks_get(host.database, tasks)


async def run_to_end(host: Host, name: str, context: Any = None, **more: Any) -> Row:
    """A new task of `tests/<name>`, at its end."""
    (row,) = await ended(host, await submit(host, name, context, **more))
    return row


def results(row: Row) -> dict[str, Any]:
    """Step name → value, of the steps that have one."""
    return {step["name"]: step["result"] for step in row["steps"] if step["current_state"] == "complete"}


def command(*arguments: str) -> Result:
    """`tasker <arguments>` in this process, with its output and exit code; logs are put back afterwards."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        ran = CliRunner().invoke(tasker, list(arguments), prog_name="tasker")
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
        structlog.reset_defaults()
    # Anything else is a traceback for whoever ran it.
    assert isinstance(ran.exception, SystemExit | None), ran.exception
    return ran
