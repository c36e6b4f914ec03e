"""`tasker step`: the steps of a task, and how to repair them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

import rich_click as click

from tasker_host.cli.operate import Said, action_options, operate, plain, step_now
from tasker_host.cli.options import TaskerGroup, config_options, echo_json, json_option
from tasker_host.cli.task import read_database, read_json

if TYPE_CHECKING:
    from tasker_host.db.database import Database
    from tasker_host.db.queries import Row
    from tasker_host.orchestration.operate import Operations


@click.group("step", cls=TaskerGroup)
def step() -> None:
    """Look at the steps of a task, and repair them. A STEP is its name or its uuid."""


_TASK = click.argument("task_uuid", type=click.UUID, metavar="TASK")
_STEP = click.argument("step_name", metavar="STEP")


@step.command("show")
@_TASK
@_STEP
@config_options
@json_option
def show(task_uuid: UUID, step_name: str, config_root: Path | None, env: str | None, as_json: bool) -> None:
    """Show a step, its result and its error."""
    _tell(read_database(config_root, env, lambda database: step_now(database, task_uuid, step_name)), as_json=as_json)


@step.command("audit")
@_TASK
@_STEP
@config_options
@json_option
def audit(task_uuid: UUID, step_name: str, config_root: Path | None, env: str | None, as_json: bool) -> None:
    """Show everything that happened to a step, newest first."""
    from tasker_host.cli.tables import print_history
    from tasker_host.db.queries import task_history

    async def moves(database: Database) -> list[Row]:
        found = (await step_now(database, task_uuid, step_name))["step_uuid"]
        return [move for move in reversed(await task_history(database, task_uuid)) if move["step_uuid"] == found]

    rows = read_database(config_root, env, moves)
    if as_json:
        echo_json(plain(rows))
    else:
        print_history(rows)


@step.command("reset")
@_TASK
@_STEP
@action_options
def reset(task_uuid: UUID, step_name: str, said: Said) -> None:
    """Try a step in error again, its attempts counted anew; the task goes on by itself."""

    async def act(operations: Operations, database: Database) -> Row:
        found = (await step_now(database, task_uuid, step_name))["step_uuid"]
        await operations.reset_step(found, reason=said.reason, actor=said.actor)
        return await step_now(database, task_uuid, str(found))

    _tell(operate(said, act), as_json=said.as_json)


@step.command("resolve")
@_TASK
@_STEP
@action_options
def resolve(task_uuid: UUID, step_name: str, said: Said) -> None:
    """Let a step count as done, without a value; the task goes on by itself."""

    async def act(operations: Operations, database: Database) -> Row:
        found = (await step_now(database, task_uuid, step_name))["step_uuid"]
        await operations.resolve_step(found, reason=said.reason, actor=said.actor)
        return await step_now(database, task_uuid, str(found))

    _tell(operate(said, act), as_json=said.as_json)


@step.command("complete")
@_TASK
@_STEP
@click.option(
    "--result", "source", required=True, metavar="JSON|@FILE|-", help="The step's value: JSON, a file, or stdin."
)
@action_options
def complete(task_uuid: UUID, step_name: str, source: str, said: Said) -> None:
    """Complete a step with a value, as if its handler had returned it; the task goes on by itself."""
    value = read_json(source, option="--result", what="the result")

    async def act(operations: Operations, database: Database) -> Row:
        found = (await step_now(database, task_uuid, step_name))["step_uuid"]
        await operations.complete_step(found, value, reason=said.reason, actor=said.actor)
        return await step_now(database, task_uuid, str(found))

    _tell(operate(said, act), as_json=said.as_json)


def _tell(row: Row, *, as_json: bool) -> None:
    if as_json:
        echo_json(plain(row))
        return
    from tasker_host.cli.tables import print_step

    print_step(row)
