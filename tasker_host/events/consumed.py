"""An event as a consumer outside the host is given it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from uuid import UUID

import asyncpg

from tasker_host.db.sqlfiles import query
from tasker_host.domain.event import DomainEvent
from tasker_host.domain.routing import own_queue
from tasker_host.domain.text import storable
from tasker_host.errors import DatabaseError, InvalidRequest

if TYPE_CHECKING:
    from asyncpg import Connection

    from tasker_host.events.reader import Consumer


@dataclass(frozen=True, slots=True, eq=False)
class Consumed:
    """An event to be dealt with. It is this consumer's until it is acknowledged or given back, or the consumer ends.

    `attempt` is 1 when it was not shown to anybody before.
    """

    event: DomainEvent
    message_id: int
    attempt: int
    _consumer: Consumer = field(repr=False)

    @property
    def event_id(self) -> UUID:
        """The same whenever and wherever the event comes again: what to be idempotent by."""
        return self.event.event_id

    @property
    def event_name(self) -> str:
        return self.event.event_name

    @property
    def payload(self) -> Any:
        return self.event.payload

    @property
    def metadata(self) -> Mapping[str, Any]:
        return self.event.metadata

    async def ack(self) -> None:
        """It is done: gone from the queue, or in its archive. Raises LeaseLost when it is somebody else's by now."""
        await self._consumer.ack(self)

    async def retry(self, after_seconds: float = 0.0) -> None:
        """It comes again, to this consumer or another one, after so many seconds. Raises LeaseLost."""
        await self._consumer.retry(self, after_seconds)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """A transaction of the queue's database at whose commit the event is done: what is written in it is so once.

        Raises LeaseLost when it is somebody else's by now, or with `once` when it is done already; nothing is written
        then.
        """
        async with self._consumer.transaction(self) as connection:
            yield connection


def told(event: Consumed) -> str:
    return f"event {event.event_id} ({event.event_name})"


def lost(event: Consumed) -> str:
    return (
        f"{told(event)} is not this consumer's any more: its lease ended, or it was acknowledged or given back before;"
        " whoever has it now deals with it"
    )


LONGEST_NAME = 255
"""Characters of the name of a queue, or of a consumer."""

MOST = 1_000_000
"""Of seconds, events and attempts that a consumer may ask for."""


def check_arguments(queue: Any, once: Any, poll_interval_seconds: Any, **numbers: Any) -> None:
    """Those of `consume`. Raises InvalidRequest."""
    if not _is_name(queue):
        raise InvalidRequest(f"queue must be the name of a queue (got {queue!r:.80})")
    if (whose := own_queue(queue)) is not None:
        # What is no event would go to the archive: steps would never run.
        raise InvalidRequest(f"{queue!r} is a queue of {whose}, which the host itself reads; consume would empty it")
    for name, value in numbers.items():
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MOST:
            raise InvalidRequest(f"{name} must be a whole number from 1 to {MOST} (got {value!r:.80})")
    pause = poll_interval_seconds
    if isinstance(pause, bool) or not isinstance(pause, int | float) or not 0 < pause <= MOST:
        raise InvalidRequest(f"poll_interval_seconds must be a number above 0, to {MOST} (got {pause!r:.80})")
    if once is not None and not _is_name(once):
        raise InvalidRequest(f"once must be a name of up to {LONGEST_NAME} characters, or None (got {once!r:.80})")


def _is_name(value: Any) -> bool:
    """Whether it can be kept: the database holds neither U+0000 nor lone surrogates, and no index a long text."""
    return isinstance(value, str) and 1 <= len(value) <= LONGEST_NAME and storable(value) == value


async def check_there(connection: Connection, queue: str) -> None:
    """Raises DatabaseError where there is no such queue, or the role may not look."""
    try:
        there = await connection.fetchval(query("consume_there"), queue)
    except asyncpg.UndefinedTableError:
        there = False  # nor anything else of PGMQ
    except asyncpg.InsufficientPrivilegeError as error:
        raise DatabaseError(
            f"the queue {queue!r} may not be read: {error}; grant its role usage on the schema pgmq, and select,"
            " insert, update and delete on the tables of the queue"
        ) from error
    if not there:
        raise DatabaseError(
            f"there is no queue {queue!r} in this database; the events of a namespace are in"
            " {namespace}_domain_events, which is made when a host with templates of that namespace starts"
        )
