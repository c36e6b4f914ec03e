"""`tasker event`: domain events, what becomes of them and what carries them out."""

from __future__ import annotations

import rich_click as click

from tasker_host.cli.event_relay import relay
from tasker_host.cli.event_replay import dead, replay
from tasker_host.cli.event_stats import stats, tail
from tasker_host.cli.options import TaskerGroup


@click.group("event", cls=TaskerGroup)
def event() -> None:
    """Look at domain events, send them again, and see to the relays that carry them out."""


for command in (stats, tail, replay, dead, relay):
    event.add_command(command)
