"""What the commands of operators share: who acts, and telling the workers afterwards."""

from __future__ import annotations

import functools
import getpass
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import rich_click as click

from tasker_host.cli.options import config_options, echo_json, json_option
from tasker_host.cli.task import read_database

if TYPE_CHECKING:
    from tasker_host.db.database import Database
    from tasker_host.db.queries import Row
    from tasker_host.orchestration.operate import Operations

RING_SECONDS = 2.0
"""How long the command waits to tell the workers; who is not told looks by itself soon after."""


@dataclass(frozen=True, slots=True)
class Said:
    """What every command of an operator is told."""

    reason: str
    actor: str
    config_root: Path | None
    env: str | None
    as_json: bool


def action_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--reason`, `--actor` and the options of every command, given to the command as `said: Said`."""

    @functools.wraps(command)
    def told(**given: Any) -> Any:
        said = Said(**{field.name: given.pop(field.name) for field in fields(Said)})
        return command(**given, said=said)

    told = click.option("--actor", default=_user, metavar="NAME", help="Who does it. [default: your user name]")(told)
    told = click.option("--reason", required=True, help="Why; kept in the history.")(told)
    return config_options(json_option(told))


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "cli"


def operate(said: Said, act: Callable[[Operations, Database], Awaitable[Any]]) -> Any:
    """What `act` returns, on the configured database; running hosts are told at once."""

    async def work(database: Database) -> Any:
        from tasker_host.db.listen import Doorbell
        from tasker_host.orchestration.operate import Operations

        channels: list[str] = []
        done = await act(Operations(database, channels.extend), database)
        bell = Doorbell(database)
        bell.ring(channels)
        await bell.rung(RING_SECONDS)
        return done

    return read_database(said.config_root, said.env, work)


async def task_now(database: Database, task: UUID) -> Row:
    from tasker_host.db.queries import tasks_get

    (row,) = await tasks_get(database, [task])
    return row


async def step_now(database: Database, task: UUID, step: str) -> Row:
    """A step of a task, by its name or uuid. Raises TaskNotFound, StepNotFound."""
    from tasker_host.db.queries import tasks_get
    from tasker_host.domain.suggest import did_you_mean
    from tasker_host.errors import StepNotFound, TaskNotFound

    rows = await tasks_get(database, [task])
    if not rows:
        raise TaskNotFound(f"no task {task} in this database; `tasker task list` shows what there is")
    for row in rows[0]["steps"]:
        if step in (row["name"], str(row["step_uuid"])):
            return dict(row)
    hint = did_you_mean(step, [row["name"] for row in rows[0]["steps"]])
    raise StepNotFound(f"task {task} has no step {step!r}{hint}")


def tell_task(row: Row, *, as_json: bool) -> None:
    from tasker_host.cli.tables import print_task

    if as_json:
        from tasker_host.api.bodies import task_body

        echo_json(plain(task_body(row)))
    else:
        print_task(row)


def plain(value: Any) -> Any:
    from tasker_host.domain.json import plain as as_plain

    return as_plain(value)
