"""`tasker event replay` and `tasker event dead`: events that are sent again, and those that relays gave up."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import rich_click as click

from tasker_host.cli.options import TaskerCommand, config_options, echo_json, json_option
from tasker_host.cli.task import read_database

if TYPE_CHECKING:
    from tasker_host.db.database import Database
    from tasker_host.db.queries import Row
    from tasker_host.db.relays import EventFilter, Source

_AGO = re.compile(r"(\d{1,6})\s*([smhdw])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def _moment(context: click.Context, option: click.Parameter, value: str | None) -> datetime | None:
    """A time as ISO 8601 (UTC where it does not say), or how long ago: 30m, 12h, 7d."""
    if value is None:
        return None
    try:
        if ago := _AGO.fullmatch(value.strip()):
            return datetime.now(UTC) - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
        moment = datetime.fromisoformat(value)
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        wrong = f"{value!r} is no time: write 2026-11-21T08:00:00Z, or 30m, 12h, 7d for how long ago"
        raise click.BadParameter(wrong, ctx=context, param=option) from None


_FILTERS = (
    click.option("--relay", metavar="NAME", help="Of this relay, or to it when they come from elsewhere."),
    click.option("--name", metavar="PATTERN", help="Only events of these names, such as payment.* or order.**."),
    click.option("--namespace", metavar="NAME", help="Only events of tasks of this namespace."),
    click.option("--task", "task_uuid", type=click.UUID, metavar="UUID", help="Only events of this task."),
    click.option("--id", "event_id", type=click.UUID, metavar="UUID", help="Only this event."),
    click.option("--since", callback=_moment, metavar="TIME", help="Only later ones: ISO 8601, or 30m, 12h, 7d ago."),
    click.option("--until", callback=_moment, metavar="TIME", help="Only earlier ones; the same forms."),
    click.option(
        "--limit", type=click.IntRange(1, 100_000), default=1000, show_default=True, help="How many of each queue."
    ),
)


def _filters(command: Any) -> Any:
    for option in reversed(_FILTERS):
        command = option(command)
    return command


@click.command("replay", cls=TaskerCommand)
@click.option(
    "--from",
    "source",
    type=click.Choice(["dead", "archive", "queue"]),
    default="dead",
    show_default=True,
    help="What is sent again: events that relays gave up, that consumers archived, or that wait for consumers.",
)
@_filters
@click.option(
    "--queue", metavar="NAME", help="The queue they come from. [default: {namespace}_domain_events of every namespace]"
)
@click.option("--dry-run", is_flag=True, help="Only show what would be sent.")
@config_options
@json_option
def replay(  # noqa: PLR0917 - one parameter an option
    source: Source,
    relay: str | None,
    name: str | None,
    namespace: str | None,
    task_uuid: UUID | None,
    event_id: UUID | None,
    since: datetime | None,
    until: datetime | None,
    limit: int,
    queue: str | None,
    dry_run: bool,
    config_root: Path | None,
    env: str | None,
    as_json: bool,
) -> None:
    """Send durable events again: dead ones to their relay, archived ones to where they were or to a relay."""
    from tasker_host.errors import InvalidRequest

    if source == "queue" and relay is None:
        raise InvalidRequest("--from queue needs --relay: these events wait in their queues already")
    if source == "dead" and queue is not None:
        raise InvalidRequest("--queue is for --from archive and --from queue; dead events are chosen by --relay")
    wanted = _filter(name, namespace, task_uuid, event_id, since, until)

    async def send(database: Database) -> list[Row]:
        from tasker_host.db.relays import check_queue, events_replay, relays_ring

        await _there(database, relay, namespace)
        if queue is not None:
            await check_queue(database, queue)
        rows = await events_replay(database, source, wanted, relay=relay, queue=queue, limit=limit, dry=dry_run)
        if rows and not dry_run:
            await relays_ring(database)
        return rows

    rows = read_database(config_root, env, send)
    if as_json:
        echo_json({"replayed": 0 if dry_run else len(rows), "dry_run": dry_run, "events": rows})
        return
    from tasker_host.cli.event_tables import print_replayed

    print_replayed(rows, dry_run=dry_run)


@click.command("dead", cls=TaskerCommand)
@_filters
@config_options
@json_option
def dead(  # noqa: PLR0917 - one parameter an option
    relay: str | None,
    name: str | None,
    namespace: str | None,
    task_uuid: UUID | None,
    event_id: UUID | None,
    since: datetime | None,
    until: datetime | None,
    limit: int,
    config_root: Path | None,
    env: str | None,
    as_json: bool,
) -> None:
    """List the events that relays gave up, with what they failed of."""
    wanted = _filter(name, namespace, task_uuid, event_id, since, until)

    async def look(database: Database) -> list[Row]:
        from tasker_host.db.relays import events_replay

        await _there(database, relay, namespace)
        return await events_replay(database, "dead", wanted, relay=relay, limit=limit, dry=True)

    rows = read_database(config_root, env, look)
    if as_json:
        echo_json(rows)
        return
    from tasker_host.cli.event_tables import print_dead_events

    print_dead_events(rows)


def _filter(  # noqa: PLR0917 - one parameter an option
    name: str | None,
    namespace: str | None,
    task_uuid: UUID | None,
    event_id: UUID | None,
    since: datetime | None,
    until: datetime | None,
) -> EventFilter:
    from tasker_host.db.relays import EventFilter
    from tasker_host.domain.patterns import pattern_problem
    from tasker_host.errors import InvalidRequest, Problem

    if name is not None and (problem := pattern_problem(name)):
        raise InvalidRequest("the option is not valid", [Problem("--name", problem)])
    return EventFilter(name, namespace, task_uuid, event_id, since, until)


async def _there(database: Database, relay: str | None, namespace: str | None) -> None:
    """Raises RelayNotFound and InvalidRequest: nothing found is another answer than nothing of that name."""
    from tasker_host.db.events import namespaces

    if relay is not None:
        await known(database, relay)
    if namespace is not None:
        await namespaces(database, namespace)


async def known(database: Database, relay: str) -> None:
    """Raises RelayNotFound."""
    from tasker_host.db.relays import relay_names
    from tasker_host.domain.suggest import did_you_mean
    from tasker_host.errors import RelayNotFound

    names = await relay_names(database)
    if relay not in names:
        hint = did_you_mean(relay, names) or (f"; there is {', '.join(names)}" if names else "; there is none")
        raise RelayNotFound(f"no relay {relay!r} in this database{hint}")
