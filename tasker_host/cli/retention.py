"""`tasker task export` and `tasker db retain`: finished tasks out of the way, or out of the database as text."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, TYPE_CHECKING

import rich_click as click

from tasker_host.cli.options import config_options, echo_json, json_option

if TYPE_CHECKING:
    from tasker_host.config import Config
    from tasker_host.db.sweep import Policy


@click.command("export")
@click.option("--namespace", help="Only of this namespace.")
@click.option("--before", metavar="TIME", help="Only those that ended before this time: ISO 8601 with time zone.")
@click.option("--archived", is_flag=True, help="Those that retention archived, in place of those that are there.")
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="[default: stdout]")
@config_options
@json_option
def export(  # noqa: PLR0917 - one parameter an option
    namespace: str | None,
    before: str | None,
    archived: bool,
    output: Path | None,
    config_root: Path | None,
    env: str | None,
    as_json: bool,
) -> None:
    """Write tasks as JSON, one a line, each with its steps, history and dead letters."""
    from tasker_host.cli.running import quiet_logs, run_async
    from tasker_host.config import load
    from tasker_host.db.export import tasks_export
    from tasker_host.db.open import opened

    until = _time(before)
    config = load(config_root, env=env)
    quiet_logs(config)

    async def write(stream: IO[bytes]) -> int:
        written = 0
        async with opened(config) as found:
            async for document in tasks_export(found.database, namespace=namespace, before=until, archived=archived):
                stream.write(document + b"\n")
                written += 1
        return written

    with _stream(output) as stream:
        written = run_async(write(stream))
    if output is not None:
        if as_json:
            echo_json({"tasks": written, "output": str(output)})
        else:
            click.echo(f"{written} tasks written to {output}", err=True)


@click.command("retain")
@click.option("--dry-run", is_flag=True, help="Only count what would be taken away.")
@config_options
@json_option
def retain(dry_run: bool, config_root: Path | None, env: str | None, as_json: bool) -> None:
    """Take away now the finished tasks that the retention settings do not keep, whether or not hosts do it."""
    from tasker_host.cli.running import quiet_logs, run_async
    from tasker_host.config import load

    config = load(config_root, env=env)
    quiet_logs(config)
    found, policies = run_async(_retain(config, dry_run=dry_run))
    if as_json:
        echo_json({"dry_run": dry_run, "tasks": found})
        return
    if not any(policies.values()):
        click.echo("nothing to do: set retention.max_age_days or retention.max_count", err=True)
    elif not found:
        click.echo("nothing to take away", err=True)
    for namespace, tasks in found.items():
        kept = "archived" if policies[namespace].archive else "deleted"
        click.echo(f"{namespace}: {tasks} tasks {'would be ' if dry_run else ''}{kept}")


async def _retain(config: Config, *, dry_run: bool) -> tuple[dict[str, int], dict[str, Policy]]:
    from tasker_host.db.open import opened
    from tasker_host.db.sweep import namespaces, retention_due
    from tasker_host.orchestration.sweep import Sweeper, sweep_options

    options = sweep_options(config.settings)
    async with opened(config) as found:
        policies = {name: options.policy(name) for name in await namespaces(found.database)}
        if dry_run:
            return await retention_due(found.database, policies), policies
        return await Sweeper(found.database, options).retain(lag=timedelta()), policies


def _time(text: str | None) -> datetime | None:
    from tasker_host.errors import InvalidRequest, Problem

    if text is None:
        return None
    try:
        at = datetime.fromisoformat(text)
        if at.tzinfo is not None:
            return at.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    wrong = Problem("--before", f"must be a time with its zone, like 2026-01-31T08:00:00+01:00 (got {text!r:.60})")
    raise InvalidRequest("the option is not valid", [wrong])


@contextmanager
def _stream(output: Path | None) -> Iterator[IO[bytes]]:
    """Where the lines go. A file is there only when all of them are in it; a device or a pipe is just written to."""
    from tasker_host.errors import InvalidRequest, Problem

    partial = None
    try:
        if output is None:
            yield sys.stdout.buffer
            sys.stdout.buffer.flush()
        elif output.exists() and not output.is_file():
            with output.open("wb") as stream:
                yield stream
        else:
            target = output.resolve()  # a link goes on to be one
            partial = target.with_name(f"{target.name}.partial")
            with partial.open("wb") as stream:
                yield stream
            partial.replace(target)
    except BrokenPipeError:
        raise  # whoever reads has enough
    except OSError as error:
        where = "stdout" if output is None else str(output)
        raise InvalidRequest("the file cannot be written", [Problem(where, error.strerror or str(error))]) from None
    finally:
        if partial is not None:
            partial.unlink(missing_ok=True)
