"""`tasker event stats` and `tasker event tail`: what became of events, and the durable ones as they are written."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import rich_click as click

from tasker_host.cli.operate import plain
from tasker_host.cli.options import config_options, echo_json, json_option
from tasker_host.cli.task import read_database

if TYPE_CHECKING:
    from tasker_host.db.database import Database
    from tasker_host.db.queries import Row

LOOK_SECONDS = 0.5
"""How often `tasker event tail --follow` looks for new ones."""


@click.command("stats")
@click.option("--namespace", help="Only events of tasks of this namespace.")
@config_options
@json_option
def stats(namespace: str | None, config_root: Path | None, env: str | None, as_json: bool) -> None:
    """Count what became of events, of all hosts together: by event and publisher, and by relay.

    A host adds its counts every few seconds (events.ledger_seconds).
    """
    from tasker_host.db.events import event_counts
    from tasker_host.db.relays import relays_stats

    async def counts(database: Database) -> tuple[list[Row], list[Row]]:
        return await event_counts(database, namespace), await relays_stats(database)

    events, relays = read_database(config_root, env, counts)
    if as_json:
        echo_json({"events": plain(events), "relays": plain(relays)})
        return
    from tasker_host.cli.event_tables import print_event_counts, print_relays

    print_event_counts(events)
    if relays:
        print_relays(relays)


@click.command("tail")
@click.option("--namespace", help="Only events of tasks of this namespace.")
@click.option("--name", "pattern", help="Only events of this pattern: 'payment.*' is one segment more, '**' any.")
@click.option("--task", "task_uuid", type=click.UUID, help="Only events of this task.")
@click.option("-n", "--lines", type=click.IntRange(0, 10_000), default=20, show_default=True, help="How many.")
@click.option("-f", "--follow", is_flag=True, help="Go on with new ones, until interrupted.")
@config_options
@json_option
def tail(  # noqa: PLR0917 - one parameter an option
    namespace: str | None,
    pattern: str | None,
    task_uuid: UUID | None,
    lines: int,
    follow: bool,
    config_root: Path | None,
    env: str | None,
    as_json: bool,
) -> None:
    """Print the last durable events, oldest first; archived ones too. With --json, one object a line."""
    from tasker_host.domain.patterns import check_pattern
    from tasker_host.errors import InvalidRequest

    if pattern is not None:
        try:
            check_pattern(pattern)
        except ValueError as error:
            raise InvalidRequest(f"--name {error}") from None

    async def print_all(database: Database) -> None:
        from tasker_host.db.events import Tail

        events = Tail(database, namespace=namespace, pattern=pattern, task_uuid=task_uuid)
        _print(await events.last(lines), as_json=as_json)
        while follow:
            await asyncio.sleep(LOOK_SECONDS)
            _print(await events.new(), as_json=as_json)

    read_database(config_root, env, print_all)


def _print(events: list[dict[str, Any]], *, as_json: bool) -> None:
    from tasker_host.domain.json import dumps

    for event in events:
        click.echo(dumps(event) if as_json else _line(event))


def _line(event: dict[str, Any]) -> str:
    """`2026-11-21T08:00:00.000000+00:00  payment.processed  payments  charge  {"amount":1250}`"""
    from tasker_host.domain.json import dumps

    metadata = event["metadata"]
    parts = (metadata.get("fired_at"), event["event_name"], metadata.get("namespace"), metadata.get("step_name"))
    return "  ".join([*(str(part) for part in parts), dumps(event["payload"])])
