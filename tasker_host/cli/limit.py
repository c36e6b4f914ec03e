"""`tasker limit`, `tasker namespace`, `tasker handler`: how much may run at once, and what is paused."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click

from tasker_host.cli.operate import Said, action_options, operate, plain
from tasker_host.cli.options import TaskerGroup, config_options, echo_json, json_option
from tasker_host.cli.task import read_database

if TYPE_CHECKING:
    from tasker_host.db.database import Database
    from tasker_host.db.queries import Row
    from tasker_host.orchestration.operate import Operations


@click.group("limit", cls=TaskerGroup)
def limit() -> None:
    """Limit what runs at once. A KEY is namespace:NAME, handler:CALLABLE or key:NAMESPACE:VALUE."""


@limit.command("list")
@config_options
@json_option
def list_(config_root: Path | None, env: str | None, as_json: bool) -> None:
    """List limits that are set, and business keys under which something runs or waits."""
    from tasker_host.db.queries import limits_list

    _tell(read_database(config_root, env, limits_list), as_json=as_json)


@limit.command("set")
@click.argument("key")
@click.option("--max", "max_running", type=click.IntRange(min=0), help="Steps that run at once.")
@click.option("--per-second", type=click.FloatRange(min=0, min_open=True), help="Steps that start in a second.")
@click.option("--burst", type=click.IntRange(min=1), help="So many may start at once. [default: 1]")
@action_options
def set_(key: str, max_running: int | None, per_second: float | None, burst: int | None, said: Said) -> None:
    """Set what a key allows, at once and for every host; what is not given is not limited. What is paused stays so."""

    async def act(operations: Operations, database: Database) -> list[Row]:
        await operations.limit(
            key,
            max_running=max_running,
            per_second=per_second,
            burst=burst,
            paused=None,
            reason=said.reason,
            actor=said.actor,
        )
        return await _rows(database, key)

    _tell(operate(said, act), as_json=said.as_json)


@limit.command("remove")
@click.argument("key")
@action_options
def remove(key: str, said: Said) -> None:
    """Remove a limit; what waited for room goes on."""

    async def act(operations: Operations, database: Database) -> list[Row]:
        await operations.limit(key, reason=said.reason, actor=said.actor)
        return await _rows(database, key)

    _tell(operate(said, act), as_json=said.as_json)


@click.group("namespace", cls=TaskerGroup)
def namespace() -> None:
    """Pause and resume whole namespaces."""


@click.group("handler", cls=TaskerGroup)
def handler() -> None:
    """Pause and resume handlers, by what templates write in handler.callable."""


@namespace.command("pause")
@click.argument("name")
@action_options
def pause_namespace(name: str, said: Said) -> None:
    """Start nothing more of a namespace; what runs goes on."""
    _pause(f"namespace:{name}", True, said)


@namespace.command("resume")
@click.argument("name")
@action_options
def resume_namespace(name: str, said: Said) -> None:
    """Go on with a namespace."""
    _pause(f"namespace:{name}", False, said)


@handler.command("pause")
@click.argument("name")
@action_options
def pause_handler(name: str, said: Said) -> None:
    """Start no more steps of a handler; what runs goes on."""
    _pause(f"handler:{name}", True, said)


@handler.command("resume")
@click.argument("name")
@action_options
def resume_handler(name: str, said: Said) -> None:
    """Go on with a handler."""
    _pause(f"handler:{name}", False, said)


def _pause(key: str, paused: bool, said: Said) -> None:
    async def act(operations: Operations, database: Database) -> list[Row]:
        await operations.pause_key(key, paused=paused, reason=said.reason, actor=said.actor)
        return await _rows(database, key)

    _tell(operate(said, act), as_json=said.as_json)


async def _rows(database: Database, key: str) -> list[Row]:
    from tasker_host.db.queries import limits_list

    return await limits_list(database, key)


def _tell(rows: list[Row], *, as_json: bool) -> None:
    if as_json:
        echo_json(plain(rows))
        return
    from tasker_host.cli.tables import print_limits

    print_limits(rows)
