"""What became of the events of this host: per event and publisher how many were published, declined, failed.

Counted in memory; what was added since is put to the counts of all hosts in the database now and then, and at the end.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import asyncpg

from tasker_host.db.database import CONNECTION_LOST, Database
from tasker_host.db.sqlfiles import query
from tasker_host.errors import DatabaseError
from tasker_host.events.build import Fate

LONGEST_ERROR = 1000
"""Characters of an error that are kept."""


@dataclass(slots=True)
class Count:
    """Since the start of this host."""

    counts: dict[Fate, int] = field(default_factory=lambda: {"published": 0, "declined": 0, "failed": 0})
    told: dict[Fate, int] = field(default_factory=lambda: {"published": 0, "declined": 0, "failed": 0})
    """Of these, what the database knows of."""
    last_error: str | None = None
    last_error_at: datetime | None = None
    last: float = 0.0
    """Unix time: a datetime for every event would cost more than all the rest here."""

    @property
    def last_at(self) -> datetime:
        return datetime.fromtimestamp(self.last, UTC)

    @property
    def is_new(self) -> bool:
        return self.counts != self.told


Key = tuple[str, str, str]
"""Namespace, event, publisher."""


class Ledger:
    """Used on the event loop only."""

    def __init__(self) -> None:
        self._counts: dict[Key, Count] = {}

    def note(self, namespace: str, event: str, publisher: str, fate: Fate, error: str = "", *, many: int = 1) -> None:
        key = (namespace, event, publisher)
        count = self._counts.get(key)
        if count is None:
            count = self._counts[key] = Count()
        count.counts[fate] += many
        count.last = time.time()
        if fate == "failed":
            count.last_error, count.last_error_at = error[:LONGEST_ERROR], count.last_at

    def rows(self) -> list[dict[str, Any]]:
        """By namespace, event and publisher."""
        return [
            {
                "namespace": namespace,
                "event_name": event,
                "publisher": publisher,
                "published": count.counts["published"],
                "declined": count.counts["declined"],
                "failed": count.counts["failed"],
                "last_error": count.last_error,
                "last_error_at": count.last_error_at,
                "last_at": count.last_at,
            }
            for (namespace, event, publisher), count in sorted(self._counts.items())
        ]

    def total(self, fate: Fate) -> int:
        return sum(count.counts[fate] for count in self._counts.values())

    async def keep(self, database: Database, every_seconds: float) -> None:
        """Until cancelled: adds what is new to the counts of all hosts."""
        try:
            while True:
                await asyncio.sleep(every_seconds)
                await self._add_or_later(database)
        finally:
            # The last counts, unless the database is not there either.
            await asyncio.shield(self._add_or_later(database))

    async def add(self, database: Database) -> None:
        """Adds what is new to the counts of all hosts. Raises what the database does; nothing was added then."""
        new = {key: count for key, count in sorted(self._counts.items()) if count.is_new}
        if not new:
            return
        told = {key: dict(count.counts) for key, count in new.items()}
        added = [{fate: told[key][fate] - count.told[fate] for fate in count.counts} for key, count in new.items()]
        await database.fetch(
            query("event_ledger_add"),
            [key[0] for key in new],
            [key[1] for key in new],
            [key[2] for key in new],
            [each["published"] for each in added],
            [each["declined"] for each in added],
            [each["failed"] for each in added],
            [count.last_error for count in new.values()],
            [count.last_error_at for count in new.values()],
            [count.last_at for count in new.values()],
        )
        for key, count in new.items():
            count.told.update(told[key])

    async def _add_or_later(self, database: Database) -> None:
        try:
            async with asyncio.timeout(5):
                await self.add(database)
        except (TimeoutError, DatabaseError, asyncpg.PostgresError, *CONNECTION_LOST):
            pass  # it is still new, and added the next time
