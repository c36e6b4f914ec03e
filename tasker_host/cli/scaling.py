"""`tasker run --processes MIN..MAX`: as many processes as the work asks for."""

from __future__ import annotations

import asyncio
import os
import re
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

import rich_click as click

if TYPE_CHECKING:
    from tasker_host.host import Host
    from tasker_host.runtime.children import Children

MOST = 256

CALM_LOOKS = 3
"""So many looks in a row must have found it calm before a process is ended: starting one takes a second."""


@dataclass(frozen=True, slots=True)
class Processes:
    """How many there are to be, the first one included."""

    least: int
    most: int

    def __str__(self) -> str:
        return str(self.least) if self.least == self.most else f"{self.least}..{self.most}"


def processes(context: click.Context, option: click.Parameter, given: str) -> Processes:
    """What `--processes` was given. Raises BadParameter."""
    matched = re.fullmatch(r"(\d{1,4})(?:\.\.(\d{1,4}))?", given)
    if matched is None:
        raise click.BadParameter(f"{given!r} is neither a number nor MIN..MAX, such as 4 or 2..8", context, option)
    least = int(matched[1])
    most = int(matched[2] or least)
    if not 1 <= least <= most <= MOST:
        raise click.BadParameter(f"{given!r} is not between 1 and {MOST}, or not in this order", context, option)
    return Processes(least, most)


async def scale(host: Host, children: Children, wanted: Processes) -> None:
    """Until cancelled: after every heartbeat more processes, or fewer, by the share of the slots that is in use."""
    import asyncpg
    import structlog

    from tasker_host.db.database import CONNECTION_LOST
    from tasker_host.errors import DatabaseError
    from tasker_host.orchestration.fleet import slots_in_use

    log = structlog.get_logger("tasker.host")
    worker = host.config.settings.worker
    seen: deque[float] = deque(maxlen=CALM_LOOKS)
    while True:
        await asyncio.sleep(worker.heartbeat_seconds)
        try:
            use = await slots_in_use(host.database, [os.getpid(), *children.pids()])
        except (DatabaseError, asyncpg.PostgresError, *CONNECTION_LOST):
            continue  # as many as there are, until it is known better
        if not use:
            continue
        # A worker whose slots follow what runs is full when it has all that it may have.
        each = worker.max_slots or sum(slots for _, slots in use) / len(use)
        seen.append(sum(running for running, _ in use) / each)
        before = 1 + len(children)
        count = next_processes(before, seen, wanted)
        if count != before:
            log.info("processes changed", before=before, processes=count, running=sum(running for running, _ in use))
            children.scale(count - 1)
            seen.clear()


def next_processes(count: int, seen: deque[float], wanted: Processes) -> int:
    """How many there are to be; `seen` is how many processes' worth of slots was in use, the last look last."""
    from tasker_host.worker.scale import next_slots

    more = next_slots(count, seen[-1], minimum=wanted.least, maximum=wanted.most)
    if more >= count or len(seen) < CALM_LOOKS:
        return max(more, min(count, wanted.most))
    return next_slots(count, max(seen), minimum=wanted.least, maximum=wanted.most)
