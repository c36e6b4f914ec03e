"""`tasker dlq`: investigations of tasks that failed for good or stopped moving. Works on the database itself."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import UUID

import rich_click as click

from tasker_host.cli.options import TaskerGroup, config_options, echo_json, json_option
from tasker_host.cli.task import read_database

if TYPE_CHECKING:
    from enum import StrEnum

    from tasker_host.db.database import Database
    from tasker_host.db.queries import Row

Word = TypeVar("Word", bound="StrEnum")


@click.group("dlq", cls=TaskerGroup)
def dlq() -> None:
    """Investigate tasks that failed for good or stopped moving."""


@dlq.command("list")
@click.option("--status", help="Only with this status: pending, manually_resolved, permanently_failed, cancelled.")
@click.option("--reason", help="Only for this reason, such as max_retries_exceeded or staleness_timeout.")
@click.option("--urgent", is_flag=True, help="Pending ones only, the most urgent first, with their scores.")
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="How many.")
@click.option("--offset", type=click.IntRange(min=0), default=0, show_default=True, help="How many to skip.")
@config_options
@json_option
def list_(  # noqa: PLR0917 - one parameter an option
    status: str | None,
    reason: str | None,
    urgent: bool,
    limit: int,
    offset: int,
    config_root: Path | None,
    env: str | None,
    as_json: bool,
) -> None:
    """List dead letters, newest first."""
    from tasker_host.db.deadletter import dead_letters_list, dead_letters_queue
    from tasker_host.domain.deadletter import DeadLetterReason, Resolution
    from tasker_host.errors import InvalidRequest

    if urgent and (status or reason or offset):
        raise InvalidRequest("--urgent shows all that are pending: leave out --status, --reason and --offset")
    wanted, because = _word(Resolution, status, "--status"), _word(DeadLetterReason, reason, "--reason")

    async def page(database: Database) -> list[Row]:
        if urgent:
            return await dead_letters_queue(database, limit=limit)
        return await dead_letters_list(database, wanted, because, limit=limit, offset=offset)

    rows = read_database(config_root, env, page)
    if as_json:
        echo_json([_plain(row) for row in rows])
        return
    from tasker_host.cli.tables import print_dead_letters

    print_dead_letters(rows)


@dlq.command("show")
@click.argument("uuid", type=click.UUID, metavar="UUID")
@config_options
@json_option
def show(uuid: UUID, config_root: Path | None, env: str | None, as_json: bool) -> None:
    """Show a dead letter, by its own uuid or by that of its task: the latest one then."""
    from tasker_host.db.deadletter import dead_letter_get, dead_letter_of_task
    from tasker_host.errors import DeadLetterNotFound

    async def one(database: Database) -> Row:
        try:
            return await dead_letter_get(database, uuid)
        except DeadLetterNotFound:
            return await dead_letter_of_task(database, uuid)

    row = read_database(config_root, env, one)
    if as_json:
        echo_json(_plain(row))
        return
    from tasker_host.cli.tables import print_dead_letter

    print_dead_letter(row)


@dlq.command("update")
@click.argument("uuid", type=click.UUID, metavar="UUID")
@click.option("--status", help="How it ended: manually_resolved, permanently_failed or cancelled.")
@click.option("--notes", help="What was found and done.")
@click.option("--by", "resolved_by", help="By whom.")
@click.option("--metadata", metavar="JSON", help="An object, in the place of what was there.")
@config_options
@json_option
def update(  # noqa: PLR0917 - one parameter an option
    uuid: UUID,
    status: str | None,
    notes: str | None,
    resolved_by: str | None,
    metadata: str | None,
    config_root: Path | None,
    env: str | None,
    as_json: bool,
) -> None:
    """Close or annotate a dead letter; what is not given stays as it is."""
    from tasker_host.db.deadletter import dead_letter_get, dead_letter_update
    from tasker_host.domain.deadletter import Resolution
    from tasker_host.errors import InvalidRequest

    if status is None and notes is None and resolved_by is None and metadata is None:
        raise InvalidRequest("nothing to change: give --status, --notes, --by or --metadata")
    wanted, kept = _word(Resolution, status, "--status"), _object(metadata)

    async def change(database: Database) -> Row:
        await dead_letter_update(database, uuid, status=wanted, notes=notes, resolved_by=resolved_by, metadata=kept)
        return await dead_letter_get(database, uuid)

    row = read_database(config_root, env, change)
    if as_json:
        echo_json(_plain(row))
    else:
        click.echo(f"{uuid} is {row['resolution_status']}")


@dlq.command("add")
@click.argument("task_uuid", type=click.UUID, metavar="TASK_UUID")
@click.option("--notes", help="Why.")
@config_options
@json_option
def add(task_uuid: UUID, notes: str | None, config_root: Path | None, env: str | None, as_json: bool) -> None:
    """Open an investigation of a task by hand. The task itself goes on as it does."""
    from tasker_host.db.deadletter import dead_letter_file

    async def file(database: Database) -> UUID:
        return await dead_letter_file(database, task_uuid, notes=notes)

    entry = read_database(config_root, env, file)
    if as_json:
        echo_json({"dlq_entry_uuid": str(entry)})
    else:
        click.echo(str(entry))


@dlq.command("stats")
@config_options
@json_option
def stats(config_root: Path | None, env: str | None, as_json: bool) -> None:
    """Count dead letters by reason and status."""
    from tasker_host.db.deadletter import dead_letters_stats

    rows = read_database(config_root, env, dead_letters_stats)
    if as_json:
        echo_json([_plain(row) for row in rows])
        return
    from tasker_host.cli.tables import print_dead_letter_stats

    print_dead_letter_stats(rows)


def _word(kind: type[Word], text: str | None, option: str) -> Word | None:
    from tasker_host.domain.deadletter import word
    from tasker_host.errors import InvalidRequest, Problem

    try:
        return None if text is None else word(kind, text)
    except ValueError as error:
        raise InvalidRequest("the option is not valid", [Problem(option, str(error))]) from None


def _object(text: str | None) -> Any:
    from tasker_host.domain.json import loads
    from tasker_host.errors import InvalidRequest, JsonError, Problem

    try:
        value = None if text is None else loads(text.encode("utf-8", "surrogateescape"))
    except JsonError as error:
        raise InvalidRequest("the option is not valid", [Problem("--metadata", str(error))]) from None
    if value is not None and not isinstance(value, dict):
        raise InvalidRequest("the option is not valid", [Problem("--metadata", "must be a JSON object")])
    return value


def _plain(row: Row) -> Any:
    from tasker_host.domain.json import plain

    return plain(row)
