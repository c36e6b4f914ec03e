"""`tasker event relay`: what carries durable events out, and how to stop, resume and end it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click

from tasker_host.cli.event_replay import known
from tasker_host.cli.options import TaskerGroup, config_options, echo_json, json_option
from tasker_host.cli.task import read_database

if TYPE_CHECKING:
    from tasker_host.db.database import Database


@click.group("relay", cls=TaskerGroup)
def relay() -> None:
    """Look at relays, stop and resume them."""


_NAME = click.argument("name", metavar="RELAY")


@relay.command("list")
@config_options
@json_option
def list_(config_root: Path | None, env: str | None, as_json: bool) -> None:
    """List relays: what waits in them, their counts and their last errors."""
    from tasker_host.db.relays import relays_stats

    rows = read_database(config_root, env, relays_stats)
    if as_json:
        echo_json(rows)
        return
    from tasker_host.cli.event_tables import print_relays

    print_relays(rows)


@relay.command("pause")
@_NAME
@click.option("--reason", help="Why; shown until it is resumed. [default: paused by hand]")
@config_options
@json_option
def pause(name: str, reason: str | None, config_root: Path | None, env: str | None, as_json: bool) -> None:
    """Deliver nothing of a relay, on no host, until it is resumed. Its events wait."""

    async def act(database: Database) -> None:
        from tasker_host.db.relays import relay_stop

        await relay_stop(database, name, reason)

    _done(name, "paused", act, config_root, env, as_json=as_json)


@relay.command("resume")
@_NAME
@config_options
@json_option
def resume(name: str, config_root: Path | None, env: str | None, as_json: bool) -> None:
    """Deliver again, also what a target was left alone for: after 410 Gone, or a Retry-After."""

    async def act(database: Database) -> None:
        from tasker_host.db.relays import relay_resume, relays_ring

        await relay_resume(database, name)
        await relays_ring(database)

    _done(name, "running", act, config_root, env, as_json=as_json)


@relay.command("remove")
@_NAME
@click.option("--force", is_flag=True, help="Also when events wait in it or are dead: they are lost.")
@config_options
@json_option
def remove(name: str, force: bool, config_root: Path | None, env: str | None, as_json: bool) -> None:
    """End a relay that no plugin gives any more: it is sent nothing, and its queues are dropped."""

    async def act(database: Database) -> None:
        from tasker_host.db.relays import relay_remove
        from tasker_host.errors import RelayNotEmpty

        left = await relay_remove(database, name, force=force)
        if left and not force:
            raise RelayNotEmpty(
                f"relay {name!r} has {left} events that wait or are dead: deliver or replay them,"
                " or remove it with --force and lose them"
            )

    told = "; a host whose plugins still give it makes it anew when it starts"
    _done(name, "removed", act, config_root, env, as_json=as_json, told=told)


def _done(
    name: str,
    state: str,
    act: Callable[[Database], Awaitable[None]],
    config_root: Path | None,
    env: str | None,
    *,
    as_json: bool,
    told: str = "",
) -> None:
    async def checked(database: Database) -> None:
        await known(database, name)
        await act(database)

    read_database(config_root, env, checked)
    if as_json:
        echo_json({"relay": name, "state": state})
    else:
        click.echo(f"{name} is {state}{told}")
