"""`tasker task cancel|pause|resume|resolve|rerun`: what operators do to whole tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal
from uuid import UUID

import rich_click as click

from tasker_host.cli.operate import Said, action_options, operate, task_now, tell_task

if TYPE_CHECKING:
    from tasker_host.db.database import Database
    from tasker_host.db.queries import Row
    from tasker_host.orchestration.operate import Operations

_TASK = click.argument("task_uuid", type=click.UUID, metavar="UUID")


@click.command("cancel")
@_TASK
@click.option("--interrupt", is_flag=True, help="Stop running steps too. [default: they end on their own]")
@action_options
def cancel(task_uuid: UUID, interrupt: bool, said: Said) -> None:
    """Cancel a task: nothing of it starts any more."""
    running: Literal["finish", "interrupt"] = "interrupt" if interrupt else "finish"

    async def act(operations: Operations) -> None:
        await operations.cancel(task_uuid, reason=said.reason, actor=said.actor, running=running)

    _act(task_uuid, act, said)


@click.command("pause")
@_TASK
@action_options
def pause(task_uuid: UUID, said: Said) -> None:
    """Pause a task: running steps end, nothing new starts."""
    _act(task_uuid, lambda o: o.pause(task_uuid, reason=said.reason, actor=said.actor), said)


@click.command("resume")
@_TASK
@action_options
def resume(task_uuid: UUID, said: Said) -> None:
    """Go on with a paused task."""
    _act(task_uuid, lambda o: o.resume(task_uuid, reason=said.reason, actor=said.actor), said)


@click.command("resolve")
@_TASK
@action_options
def resolve(task_uuid: UUID, said: Said) -> None:
    """Settle a task by hand: it ends as resolved_manually, running steps are stopped."""
    _act(task_uuid, lambda o: o.resolve(task_uuid, reason=said.reason, actor=said.actor), said)


@click.command("rerun")
@_TASK
@click.option(
    "--from", "from_steps", multiple=True, metavar="STEP", help="From this step on; may be given more than once."
)
@action_options
def rerun(task_uuid: UUID, from_steps: tuple[str, ...], said: Said) -> None:
    """Run steps of a task and all below them again; without --from, all that are in error or cancelled."""

    async def act(operations: Operations) -> None:
        await operations.rerun(task_uuid, reason=said.reason, actor=said.actor, from_steps=list(from_steps) or None)

    _act(task_uuid, act, said)


def _act(task_uuid: UUID, act: Any, said: Said) -> None:
    async def work(operations: Operations, database: Database) -> Row:
        await act(operations)
        return await task_now(database, task_uuid)

    tell_task(operate(said, work), as_json=said.as_json)


ACTIONS = (cancel, pause, resume, resolve, rerun)
