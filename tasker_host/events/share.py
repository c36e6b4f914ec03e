"""Fast events between the hosts of one database: by its notifications, best effort.

What a host publishes on its fast path is sent, some milliseconds' worth in one call, on a connection of its own that
waits for nobody's commit; what others sent is given to the subscribers of this host. Nothing is sent again, so an event
is heard at most once; one that does not fit into a notification is not carried.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import asyncpg
import structlog

from tasker_host.db.database import CONNECTION_LOST, Database, dropped
from tasker_host.db.listen import FAST_EVENTS, GATHER_SECONDS, notify
from tasker_host.domain.event import DomainEvent
from tasker_host.domain.json import dumps, loads
from tasker_host.errors import DatabaseError, JsonError
from tasker_host.events.message import error_text

if TYPE_CHECKING:
    from asyncpg import Connection

log = structlog.get_logger("tasker.events")

NOTIFICATION_BYTES = 7_999
"""PostgreSQL's limit for the payload of one."""

RECONNECT_SECONDS = 1.0

_FAILED = (DatabaseError, asyncpg.PostgresError, *CONNECTION_LOST)


class Share:
    """Used on the event loop only; opened by `start`, ended by `close`. `share` never waits and never raises.

    `heard` is given the events of other hosts. At most `queue_size` events wait to be sent; beyond that the oldest are
    dropped.
    """

    def __init__(self, database: Database, heard: Callable[[DomainEvent], None], *, queue_size: int) -> None:
        self.sent = 0
        self.received = 0
        self.too_large = 0
        """Events that no notification can carry."""
        self.dropped = 0
        """Events that did not wait for their turn, because too many did."""
        self.lost = 0
        """Events of calls that the database did not answer, or refused."""
        self.unreadable = 0
        """Notifications that are none of a host."""
        self._database = database
        self._heard = heard
        self._queue_size = queue_size
        self._queue: deque[str] = deque()
        self._wanted = asyncio.Event()
        self._closing = False
        self._task: asyncio.Task[None] | None = None
        self._in_flight = 0
        # By this, and not by the connection, a host knows its own: that may have been lost and made anew meanwhile.
        self._own = secrets.token_hex(8)
        self._head = f'{{"from":"{self._own}","events":['
        self._room = NOTIFICATION_BYTES - len(self._head) - len("]}")

    def start(self) -> None:
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="tasker-share")

    def share(self, event: DomainEvent) -> None:
        """To the other hosts, soon."""
        if self._closing:
            return
        try:
            text = dumps(event.as_message())
        except JsonError as error:  # a plugin had the event in its hands
            self._lose(1, error)
            return
        if (size := len(text.encode())) > self._room:
            self._not_carried(event, size)
            return
        if len(self._queue) >= self._queue_size:
            self._queue.popleft()
            self._drop(1)
        self._queue.append(text)
        self._wanted.set()

    def hear(self, notification: str) -> None:
        """What a host has sent, this one too. Never raises: anybody may write to the channel."""
        try:
            sender, events = _read(notification)
        except ValueError as error:
            self.unreadable += 1
            if _is_told(self.unreadable):
                log.warning("notification is none of a host", channel=FAST_EVENTS, error=str(error))
            return
        if sender != self._own:
            self.received += len(events)
            for event in events:
                self._heard(event)

    async def close(self, *, drain_seconds: float) -> int:
        """Sends what waits for so long, then ends; how many events were not sent."""
        self._closing = True
        self._wanted.set()
        if self._task is None:
            return 0
        await asyncio.wait([self._task], timeout=drain_seconds)
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        left = len(self._queue) + self._in_flight
        self.dropped += left
        if left:
            log.warning("shared events dropped at the stop", dropped=left, drain_seconds=drain_seconds)
        return left

    def stats(self) -> dict[str, int]:
        """Everything that was counted since the start of this host."""
        return {
            "sent": self.sent,
            "received": self.received,
            "queued": len(self._queue),
            "dropped": self.dropped,
            "too_large": self.too_large,
            "lost": self.lost,
            "unreadable": self.unreadable,
        }

    # Sending ----------------------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        connection: Connection | None = None
        try:
            while self._queue or not self._closing:
                await self._wanted.wait()
                self._wanted.clear()
                if not self._queue:
                    continue
                texts, self._queue = self._queue, deque()
                self._in_flight = len(texts)
                pause = GATHER_SECONDS
                try:
                    if connection is None or connection.is_closed():
                        connection = await self._database.connect(role="share", synchronous_commit="off")
                    await notify(connection, FAST_EVENTS, list(self._packed(texts)))
                    self.sent += len(texts)
                except _FAILED as error:
                    # They may have been heard: sent again, some would hear them twice.
                    self._lose(len(texts), error)
                    await dropped(connection)
                    connection, pause = None, RECONNECT_SECONDS
                self._in_flight = 0
                if not self._closing:
                    await asyncio.sleep(pause)
        finally:
            await dropped(connection)

    def _packed(self, texts: Iterable[str]) -> Iterator[str]:
        """As few notifications as hold them, in their order."""
        taken: list[str] = []
        size = 0
        for text in texts:
            more = len(text.encode()) + 1  # and a comma
            if taken and size + more > self._room + 1:
                yield f"{self._head}{','.join(taken)}]}}"
                taken, size = [], 0
            taken.append(text)
            size += more
        if taken:
            yield f"{self._head}{','.join(taken)}]}}"

    # What does not arrive ---------------------------------------------------------------------------------------------

    def _not_carried(self, event: DomainEvent, size: int) -> None:
        self.too_large += 1
        if _is_told(self.too_large):
            log.warning(
                "event too large to be shared",
                event_name=event.event_name,
                event_id=str(event.event_id),
                bytes=size,
                most=self._room,
                too_large=self.too_large,
            )

    def _drop(self, count: int) -> None:
        self.dropped += count
        if _is_told(self.dropped):
            log.warning("shared events dropped", dropped=self.dropped, queue_size=self._queue_size)

    def _lose(self, count: int, error: BaseException) -> None:
        self.lost += count
        log.warning("shared events lost", lost=count, error=error_text(error))


def _is_told(count: int) -> bool:
    """The first and every thousandth: what always happens must not fill the log."""
    return count % 1000 == 1


def _read(notification: str) -> tuple[str, list[DomainEvent]]:
    """Who sent what. Raises ValueError."""
    try:
        body: Any = loads(notification)
    except JsonError as error:
        raise ValueError(str(error)) from None
    if not isinstance(body, dict) or not isinstance(body.get("from"), str) or not isinstance(body.get("events"), list):
        raise ValueError(f"not an envelope of events: {notification[:200]!r}")
    return body["from"], [DomainEvent.from_message(message) for message in body["events"]]
