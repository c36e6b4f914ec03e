"""The fleet: every worker says now and then that it lives, and how it is."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import asyncpg

from tasker_host.db.database import CONNECTION_LOST, Database
from tasker_host.db.sqlfiles import query
from tasker_host.domain.ids import WorkerId
from tasker_host.domain.json import dumps
from tasker_host.errors import DatabaseError

_BEAT = "select tasker.worker_beat($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)"


async def slots_in_use(database: Database, pids: Sequence[int]) -> list[tuple[int, int]]:
    """(running, slots) of the workers that live in these processes of this machine. Raises what the database does."""
    rows = await database.fetch(query("workers_busy"), socket.gethostname(), pids)
    return [(row["running"], row["slots"]) for row in rows]


@dataclass(frozen=True, slots=True)
class Beat:
    """How a worker is at the moment."""

    state: str
    slots: int
    running: int
    abandoned_threads: int
    unserved: list[tuple[int, str]]


@dataclass(frozen=True, slots=True)
class Member:
    """Who a worker is: the same as long as it lives, and never again."""

    worker: WorkerId
    name: str
    version: str
    tags: list[str]
    namespaces: list[str]


class Heart:
    """Beats for one worker until cancelled, and says at the end that it is gone."""

    def __init__(self, database: Database, member: Member, every: timedelta, look: Callable[[], Beat]) -> None:
        self._database = database
        self._member = member
        self._every = every
        self._look = look
        self._since = datetime.now(UTC)

    async def run(self) -> None:
        try:
            while True:
                try:
                    await self.beat()
                except (DatabaseError, asyncpg.PostgresError, *CONNECTION_LOST):
                    pass  # others see it as lost meanwhile; its leases do not depend on this
                await asyncio.sleep(self._every.total_seconds())
        finally:
            await self._gone()

    async def beat(self) -> None:
        member, now = self._member, self._look()
        await self._database.fetch(
            _BEAT,
            member.worker,
            member.name,
            socket.gethostname(),
            os.getpid(),
            self._since,
            self._every,
            member.version,
            now.state,
            now.slots,
            now.running,
            now.abandoned_threads,
            member.tags,
            member.namespaces,
            dumps([{"template_id": template, "step": step} for template, step in now.unserved]),
        )

    async def _gone(self) -> None:
        try:
            async with asyncio.timeout(2):
                await self._database.fetch("delete from tasker.workers where worker = $1", self._member.worker)
        except (DatabaseError, asyncpg.PostgresError, *CONNECTION_LOST):
            pass  # forgotten when it has not been heard of for a while
