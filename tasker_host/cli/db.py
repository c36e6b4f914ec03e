"""`tasker db`: the schema of the database."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click

from tasker_host.cli.options import TaskerGroup, config_options, echo_json, exit_with, json_option
from tasker_host.cli.retention import retain

if TYPE_CHECKING:
    from tasker_host.config import Config
    from tasker_host.db.migrate import SchemaStatus


@click.group("db", cls=TaskerGroup)
def db() -> None:
    """Migrate the database, and show what is applied."""


db.add_command(retain)


@db.command("migrate")
@config_options
@json_option
def migrate(config_root: Path | None, env: str | None, as_json: bool) -> None:
    """Bring the database to the schema of this host, all or nothing."""
    from tasker_host.cli.running import run_async
    from tasker_host.config import load

    where, applied = run_async(_migrate(load(config_root, env=env)))
    if as_json:
        echo_json({"database": where, "applied": list(applied)})
    elif applied:
        click.echo(f"{where}: applied {', '.join(applied)}")
    else:
        click.echo(f"{where}: nothing to do, the schema is current")


@db.command("status")
@config_options
@json_option
def status(config_root: Path | None, env: str | None, as_json: bool) -> None:
    """Show which migrations are applied and which are pending. Changes nothing; exit code 1 while some are pending."""
    from tasker_host.cli.running import run_async
    from tasker_host.config import load

    where, found = run_async(_status(load(config_root, env=env)))
    if as_json:
        echo_json(
            {
                "database": where,
                "current": found.current,
                "applied": list(found.applied),
                "pending": list(found.pending),
                "pgmq": found.pgmq,
            }
        )
    else:
        click.echo(f"{where} (PGMQ: {found.pgmq})")
        for name in found.applied:
            click.echo(f"  applied  {name}")
        for name in found.pending:
            click.echo(f"  pending  {name}")
    exit_with(found.current)


async def _migrate(config: Config) -> tuple[str, tuple[str, ...]]:
    from tasker_host.db.migrate import migrate
    from tasker_host.db.open import opened

    async with opened(config, schema=False) as found:
        return str(found), await migrate(found.database)


async def _status(config: Config) -> tuple[str, SchemaStatus]:
    from tasker_host.db.migrate import status
    from tasker_host.db.open import opened

    async with opened(config, schema=False) as found:
        return str(found), await status(found.database)
