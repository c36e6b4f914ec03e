"""Reads about domain events: what became of them, and the messages of the durable ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from tasker_host.db.database import Database
from tasker_host.db.queries import Row
from tasker_host.db.sqlfiles import query
from tasker_host.domain.json import loads
from tasker_host.domain.patterns import matches
from tasker_host.errors import InvalidRequest

MOST_AT_ONCE = 1000
"""Messages that are read in one query."""

LOOK_BACK = 500
"""So many messages are looked at again: of two transactions the one that drew its ids first may commit last."""


async def event_counts(database: Database, namespace: str | None = None) -> list[Row]:
    """Per event and publisher, of all hosts: how many were published, declined, failed.

    Raises InvalidRequest for an unknown namespace.
    """
    if namespace is not None:
        await namespaces(database, namespace)
    return [dict(row) for row in await database.fetch(query("event_ledger"), namespace)]


class Tail:
    """The durable events of a database, or of one namespace, as they were written; none of them is taken."""

    def __init__(
        self,
        database: Database,
        *,
        namespace: str | None = None,
        pattern: str | None = None,
        task_uuid: UUID | None = None,
    ) -> None:
        self._database = database
        self._namespace = namespace
        self._pattern = pattern
        self._task_uuid = task_uuid
        self._newest: dict[str, int] = {}
        """By namespace the newest message that was seen."""
        self._seen: dict[str, set[int]] = {}
        """Those before it that are looked at again."""

    async def last(self, count: int) -> list[dict[str, Any]]:
        """The last `count` of those asked for, oldest first. Raises InvalidRequest for an unknown namespace."""
        found: list[dict[str, Any]] = []
        for namespace in await namespaces(self._database, self._namespace):
            rows = await self._look(namespace, newest=True)
            self._note(namespace, rows)
            kept = self._wanted(rows)
            while len(kept) < count and len(rows) == MOST_AT_ONCE:
                rows = await self._look(namespace, newest=True, before=rows[-1]["msg_id"])
                kept += self._wanted(rows)
            found += reversed(kept[:count])
        return _in_order(found)[-count:] if count else []

    async def new(self) -> list[dict[str, Any]]:
        """Those that came since the last look."""
        found: list[dict[str, Any]] = []
        for namespace in await namespaces(self._database, self._namespace):
            after = max(0, self._newest.get(namespace, 0) - LOOK_BACK)
            while True:
                rows = await self._look(namespace, after=after)
                seen = self._seen.get(namespace, set())
                new = [row for row in rows if row["msg_id"] not in seen]
                self._note(namespace, new)
                found += self._wanted(new)
                if len(rows) < MOST_AT_ONCE:
                    break
                after = rows[-1]["msg_id"]
        return _in_order(found)

    async def _look(
        self, namespace: str, *, newest: bool = False, after: int | None = None, before: int | None = None
    ) -> list[Any]:
        return await self._database.fetch(
            query("events_look"), namespace, after, before, newest, self._task_uuid, MOST_AT_ONCE
        )

    def _note(self, namespace: str, rows: Sequence[Any]) -> None:
        ids = {row["msg_id"] for row in rows} | self._seen.get(namespace, set())
        self._newest[namespace] = newest = max(ids, default=0)
        self._seen[namespace] = {seen for seen in ids if seen >= newest - LOOK_BACK}

    def _wanted(self, rows: Sequence[Any]) -> list[dict[str, Any]]:
        return [
            event
            for event in (loads(row["message"]) for row in rows)
            if _is_event(event)
            if self._pattern is None or matches(self._pattern, str(event.get("event_name")))
        ]


async def namespaces(database: Database, only: str | None) -> list[str]:
    """The names of all, or that one. Raises InvalidRequest where there is none of that name."""
    names = [row[0] for row in await database.fetch(query("namespaces"))]
    if only is None:
        return names
    if only not in names:
        raise InvalidRequest(f"no namespace '{only}'; there is {', '.join(names) or 'none yet'}")
    return [only]


def _is_event(message: Any) -> bool:
    # Others may send to these queues, too.
    return (
        isinstance(message, dict)
        and isinstance(message.get("event_name"), str)
        and isinstance(message.get("metadata"), dict)
        and "payload" in message
    )


def _in_order(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of several namespaces, by the time they were fired; what was fired at the same time stays as it was written."""
    return sorted(events, key=lambda event: str(event["metadata"].get("fired_at")))
