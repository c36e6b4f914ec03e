"""Doorbells: hints that there is something to look at, sent after the commit and never instead of it.

`notify` inside a transaction would take a database-wide lock until the WAL is flushed and so end group commit for the
whole server. So a bell rings on a connection of its own, with synchronous_commit off, at most once per channel and
`GATHER_SECONDS`. A bell may be lost; whoever waits also polls.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

import asyncpg

from tasker_host.db.database import CONNECTION_LOST, Database, dropped
from tasker_host.errors import DatabaseError

if TYPE_CHECKING:
    from asyncpg import Connection

GATHER_SECONDS = 0.01
RECONNECT_SECONDS = 1.0
NOTIFY_SECONDS = 10.0

_FAILED = (DatabaseError, asyncpg.PostgresError, *CONNECTION_LOST)

STOP = "tasker.stop"
"""Rings when steps that run were taken from their workers."""

ENDED = "tasker.ended"
"""Rings when tasks came to rest."""

REQUESTS = "tasker.requests"
"""Rings, when somebody rings it (`select tasker.ring()`), after requests were sent as messages."""

EVENTS = "tasker.events"
"""Rings when relays got events to carry out."""

FAST_EVENTS = "tasker.fast_events"
"""Carries fast events from host to host, where that is configured (`events.share`)."""


def work(namespace: str) -> str:
    """The channel that rings when the queue of `namespace` got work."""
    return f"tasker.work.{namespace}"


async def notify(connection: Connection, channel: str, payloads: Sequence[str]) -> None:
    """Sends each payload, of at most 7,999 bytes, to who listens. Raises what the database does."""
    async with asyncio.timeout(NOTIFY_SECONDS):
        await connection.execute("select pg_notify($1, p) from unnest($2::text[]) p", channel, payloads)


class Bell(Protocol):
    """What a worker rings. `pid` is the server's process that rings for it."""

    @property
    def pid(self) -> int | None: ...

    def ring(self, channels: Sequence[str]) -> None: ...


class Doorbell:
    """Rings channels, coalesced. `ring` never waits and never raises."""

    def __init__(self, database: Database) -> None:
        self.pid: int | None = None
        """The server's process that rings for us."""
        self.failures = 0
        """How often it could not ring."""
        self._database = database
        self._channels: set[str] = set()
        self._wanted = asyncio.Event()
        self._rang = asyncio.Event()

    def ring(self, channels: Iterable[str]) -> None:
        self._channels.update(channels)
        if self._channels:
            self._wanted.set()

    async def rung(self, timeout_seconds: float) -> None:
        """Rings what was asked for, and returns when that is done, has failed, or took too long."""
        if not self._channels:
            return
        ringing = asyncio.create_task(self.run(), name="tasker-ring")
        try:
            async with asyncio.timeout(timeout_seconds):
                await self._rang.wait()
        except TimeoutError:
            pass
        finally:
            ringing.cancel()
            await asyncio.gather(ringing, return_exceptions=True)

    async def run(self) -> None:
        """Until cancelled."""
        connection: Connection | None = None
        try:
            while True:
                await self._wanted.wait()
                self._wanted.clear()
                channels, self._channels = self._channels, set()
                try:
                    if connection is None or connection.is_closed():
                        connection = await self._database.connect(role="doorbell", synchronous_commit="off")
                        self.pid = connection.get_server_pid()
                    await connection.execute("select pg_notify(c, '') from unnest($1::text[]) c", list(channels))
                except _FAILED:
                    # Nobody is told, so everybody polls: the bell is only a hint.
                    self.failures += 1
                    await dropped(connection)
                    self.pid = connection = None
                self._rang.set()
                await asyncio.sleep(GATHER_SECONDS)
        finally:
            await dropped(connection)


class Listener:
    """Calls `heard(channel)` for every bell on `channels`, and once for each after every (re)connection.

    A lost connection is noticed at once and made anew; what may have been missed meanwhile is looked up by the caller,
    who is told by that extra call. What `own`, the doorbell of this host, rings is not heard: who rings knows already.
    `read` are channels on which something is said: their functions are given the payload of each notification.
    """

    def __init__(
        self,
        database: Database,
        channels: Sequence[str],
        heard: Callable[[str], None],
        *,
        own: Bell | None = None,
        read: Mapping[str, Callable[[str], None]] | None = None,
        retry_seconds: float = RECONNECT_SECONDS,
    ) -> None:
        self._database = database
        self._own = own
        self._channels = list(channels)
        self._heard = heard
        self._read = dict(read or {})
        self._retry_seconds = retry_seconds
        self.connected = False

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            lost = asyncio.Event()
            connection: Connection | None = None
            try:
                connection = await self._database.connect(role="listener")
                connection.add_termination_listener(lambda _, lost=lost: lost.set())
                for channel in self._channels:
                    await connection.add_listener(channel, self._on_bell)
                for channel in self._read:
                    await connection.add_listener(channel, self._on_notification)
                self.connected = True
                for channel in self._channels:
                    self._heard(channel)
                await lost.wait()
            except _FAILED:
                pass
            finally:
                self.connected = False
                await dropped(connection)
            await asyncio.sleep(self._retry_seconds * random.uniform(0.5, 1.0))  # noqa: S311 - jitter, not a secret

    def _on_notification(self, _connection: object, _pid: int, channel: str, payload: object) -> None:
        self._read[channel](str(payload))

    def _on_bell(self, _connection: object, pid: int, channel: str, _payload: object) -> None:
        if self._own is None or pid != self._own.pid:
            self._heard(channel)
