"""`tasker worker`: the living fleet."""

from __future__ import annotations

from pathlib import Path

import rich_click as click

from tasker_host.cli.operate import plain
from tasker_host.cli.options import TaskerGroup, config_options, echo_json, json_option
from tasker_host.cli.task import read_database


@click.group("worker", cls=TaskerGroup)
def worker() -> None:
    """See which workers live, and how they are."""


@worker.command("list")
@config_options
@json_option
def list_(config_root: Path | None, env: str | None, as_json: bool) -> None:
    """List the workers of this database: where they run, how busy they are, what they could not serve."""
    from tasker_host.db.queries import workers_list

    rows = read_database(config_root, env, workers_list)
    if as_json:
        echo_json(plain(rows))
        return
    from tasker_host.cli.tables import print_workers

    print_workers(rows)
