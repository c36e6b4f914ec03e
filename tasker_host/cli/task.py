"""`tasker task`: submit tasks, look at them, wait for them. Works on the database itself: no host need be running."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import rich_click as click

from tasker_host.cli.options import TaskerGroup, config_options, echo_json, exit_with, json_option
from tasker_host.cli.retention import export

if TYPE_CHECKING:
    from tasker_host.config import Config
    from tasker_host.db.database import Database
    from tasker_host.db.queries import Row

LOOK_SECONDS = 0.2
"""How often a watched task is looked at, for people to see it move."""


@click.group("task", cls=TaskerGroup)
def task() -> None:
    """Submit tasks, list and show them, and wait for them."""


def _timeout_option(command: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "--timeout", "timeout_seconds", type=click.FloatRange(min=0), metavar="SECONDS", help="Give up waiting then."
    )(command)


task.add_command(export)


@task.command("submit")
@click.argument("template", metavar="NAMESPACE/NAME")
@click.option("--input", "source", default="{}", metavar="JSON|@FILE|-", help="The context: JSON, a file, or stdin.")
@click.option("--version", help="Of the template. [default: the latest]")
@click.option("--priority", type=click.IntRange(-100, 100), help="Higher goes first. [default: the template's]")
@click.option("--tag", "tags", multiple=True, help="May be given more than once.")
@click.option("--idempotency-key", help="A second task with the same key is refused.")
@click.option("--start-at", metavar="TIME", help="Not before this time: ISO 8601 with time zone.")
@click.option("--initiator", help="Who asks. [default: system]")
@click.option("--source-system", help="From where. [default: tasker-cli]")
@click.option("--reason", help="Why.")
@click.option("--correlation-id", help="A uuid that belongs to the caller's own records.")
@click.option("--watch", "watched", is_flag=True, help="Wait for its end; exit code 1 when it did not complete.")
@_timeout_option
@config_options
@json_option
def submit(  # noqa: PLR0917 - one parameter an option
    template: str,
    source: str,
    watched: bool,
    timeout_seconds: float | None,
    config_root: Path | None,
    env: str | None,
    as_json: bool,
    **fields: Any,
) -> None:
    """Create a task of a template: durable when this command returns, run by any host on the same database."""
    from tasker_host.cli.running import quiet_logs, run_async
    from tasker_host.config import load
    from tasker_host.domain.request import request_from_data

    namespace, slash, name = template.rpartition("/")
    data = {key: list(value) if isinstance(value, tuple) else value for key, value in fields.items()}
    data = {key: value for key, value in data.items() if value not in (None, [])}
    data |= {"name": name, "context": _read_context(source), "source_system": data.get("source_system", "tasker-cli")}
    if slash:
        data["namespace"] = namespace
    request = request_from_data(data)
    config = load(config_root, env=env)
    quiet_logs(config)

    async def work() -> Row | UUID:
        from tasker_host.host import Host

        async with Host(config, worker=False) as host:
            task_uuid = await host.submissions.submit(request)
            if not watched:
                return task_uuid
            click.echo(f"task {task_uuid}", err=True)
            return await _settled(host.database, task_uuid, timeout_seconds)

    _tell(run_async(work()), as_json=as_json)


@task.command("show")
@click.argument("task_uuid", type=click.UUID, metavar="UUID")
@config_options
@json_option
def show(task_uuid: UUID, config_root: Path | None, env: str | None, as_json: bool) -> None:
    """Show a task, its steps and their results."""
    found = read_database(config_root, env, lambda database: _one(database, task_uuid))
    if as_json:
        echo_json(_jsonable(found))
    else:
        from tasker_host.cli.tables import print_task

        print_task(found)


@task.command("watch")
@click.argument("task_uuid", type=click.UUID, metavar="UUID")
@_timeout_option
@config_options
@json_option
def watch(
    task_uuid: UUID, timeout_seconds: float | None, config_root: Path | None, env: str | None, as_json: bool
) -> None:
    """Wait for a task to end and show it; exit code 1 when it did not complete."""
    _tell(
        read_database(config_root, env, lambda database: _settled(database, task_uuid, timeout_seconds)),
        as_json=as_json,
    )


@task.command("list")
@click.option("--namespace", help="Only of this namespace.")
@click.option("--name", help="Only of templates of this name.")
@click.option("--version", help="Only of templates of this version.")
@click.option("--state", "states", multiple=True, help="Only in this state; may be given more than once.")
@click.option("--initiator", help="Only of this initiator.")
@click.option("--source-system", help="Only of this source system.")
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="How many.")
@click.option("--offset", type=click.IntRange(min=0), default=0, show_default=True, help="How many to skip.")
@config_options
@json_option
def list_(  # noqa: PLR0917 - one parameter an option
    states: tuple[str, ...],
    limit: int,
    offset: int,
    config_root: Path | None,
    env: str | None,
    as_json: bool,
    **filters: str | None,
) -> None:
    """List tasks, newest first."""
    from tasker_host.db.queries import TaskFilter, tasks_list

    wanted = TaskFilter(**filters, states=_known_states(states))

    async def page(database: Database) -> tuple[list[Row], int]:
        return await tasks_list(database, wanted, limit=limit, offset=offset)

    rows, total = read_database(config_root, env, page)
    if as_json:
        echo_json({"tasks": [_jsonable(row) for row in rows], "total": total, "limit": limit, "offset": offset})
        return
    from tasker_host.cli.tables import print_tasks

    print_tasks(rows, total)


@task.command("history")
@click.argument("task_uuid", type=click.UUID, metavar="UUID")
@config_options
@json_option
def history(task_uuid: UUID, config_root: Path | None, env: str | None, as_json: bool) -> None:
    """Show everything that happened to a task and its steps, who did it and why."""

    async def moves(database: Database) -> list[Row]:
        from tasker_host.db.queries import task_history

        await _one(database, task_uuid)
        return await task_history(database, task_uuid)

    rows = read_database(config_root, env, moves)
    if as_json:
        echo_json([_jsonable_move(row) for row in rows])
        return
    from tasker_host.cli.tables import print_history

    print_history(rows)


# What they share ------------------------------------------------------------------------------------------------------


def _read_context(source: str) -> Any:
    return read_json(source, option="--input", what="the context")


def read_json(source: str, *, option: str, what: str) -> Any:
    """JSON as it was given: itself, `@file`, or `-` for stdin. Raises InvalidRequest."""
    from tasker_host.domain.json import loads
    from tasker_host.errors import InvalidRequest, JsonError, Problem

    where = "stdin" if source == "-" else source.removeprefix("@") if source.startswith("@") else option
    try:
        if source == "-":
            return loads(sys.stdin.buffer.read())
        if source.startswith("@"):
            return loads(Path(where).read_bytes())
        return loads(source.encode("utf-8", "surrogateescape"))
    except OSError as error:
        raise InvalidRequest(f"{what} cannot be read", [Problem(where, error.strerror or str(error))]) from None
    except JsonError as error:
        raise InvalidRequest(f"{what} cannot be read", [Problem(where, str(error))]) from None


def _known_states(states: tuple[str, ...]) -> list[str] | None:
    from tasker_host.domain.states import TaskState
    from tasker_host.domain.suggest import did_you_mean
    from tasker_host.errors import InvalidRequest

    known = [state.value for state in TaskState]
    for state in states:
        if state not in known:
            raise InvalidRequest(f"no task state {state!r}{did_you_mean(state, known)}; there are: {', '.join(known)}")
    return list(states) or None


def read_database(config_root: Path | None, env: str | None, work: Callable[[Database], Any]) -> Any:
    """What `work` returns, on the configured database."""
    from tasker_host.cli.running import quiet_logs, run_async
    from tasker_host.config import load

    config = load(config_root, env=env)
    quiet_logs(config)
    return run_async(_on_database(config, work))


async def _on_database(config: Config, work: Callable[[Database], Any]) -> Any:
    from tasker_host.db.open import opened

    async with opened(config) as found:
        return await work(found.database)


async def _one(database: Database, task_uuid: UUID) -> Row:
    from tasker_host.db.queries import tasks_get
    from tasker_host.errors import TaskNotFound

    rows = await tasks_get(database, [task_uuid])
    if not rows:
        raise TaskNotFound(f"no task {task_uuid} in this database; `tasker task list` shows what there is")
    return rows[0]


async def _settled(database: Database, task_uuid: UUID, timeout_seconds: float | None) -> Row:
    """The task at its end, or as it is at the timeout; tells on stderr how it moves."""
    from tasker_host.db.queries import workers_connected
    from tasker_host.domain.states import TASK_SETTLED

    over = None if timeout_seconds is None else time.monotonic() + timeout_seconds
    told = ""
    if not await workers_connected(database):
        click.echo("no worker is connected to this database: start one with `tasker run`", err=True)
    while True:
        found = await _one(database, task_uuid)
        if found["status"] in TASK_SETTLED or (over is not None and time.monotonic() >= over):
            return found
        now = f"{found['status']}, {found['completed_steps']} of {found['total_steps']} steps complete"
        if now != told:
            click.echo(now, err=True)
            told = now
        await asyncio.sleep(LOOK_SECONDS)


def _tell(found: Row | UUID, *, as_json: bool) -> None:
    """Print a task that was waited for, or the uuid of one that was not; exit with 1 unless it completed."""
    if isinstance(found, UUID):
        if as_json:
            echo_json({"task_uuid": str(found)})
        else:
            click.echo(str(found))
        return
    if as_json:
        echo_json(_jsonable(found))
    else:
        from tasker_host.cli.tables import print_task

        print_task(found)
    exit_with(found["status"] == "complete")


def _jsonable(row: Row) -> Any:
    """The object that the API gives too."""
    from tasker_host.api.bodies import task_body
    from tasker_host.domain.json import plain

    return plain(task_body(row))


def _jsonable_move(row: Row) -> Any:
    from tasker_host.domain.json import plain

    return plain(row)
