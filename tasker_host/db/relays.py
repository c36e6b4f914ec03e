"""Relays, bindings and dead events from Python. SQL: `functions/47_routing.sql`, `49_relays.sql`, `51_replay.sql`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal, NamedTuple
from uuid import UUID

import orjson

from tasker_host.db.database import Database
from tasker_host.db.listen import EVENTS
from tasker_host.db.queries import Row
from tasker_host.db.sqlfiles import query
from tasker_host.domain.json import loads
from tasker_host.domain.patterns import pattern_regex
from tasker_host.domain.routing import own_queue
from tasker_host.domain.suggest import did_you_mean
from tasker_host.errors import InvalidRequest

Kind = Literal["delivered", "retried", "held", "dead", "gone", "released"]
"""What became of a delivery; see `relay_round` in SQL."""

Source = Literal["dead", "archive", "queue"]


@dataclass(frozen=True, slots=True)
class Binding:
    """Events of names that match go to `queue` too; those of tasks of `namespaces`, or of all when there are none."""

    queue: str
    pattern: str
    namespaces: Sequence[str] = ()
    ordered_by: str | None = None

    def row(self) -> dict[str, Any]:
        return {
            "queue": self.queue,
            "pattern": self.pattern,
            "regex": pattern_regex(self.pattern),
            "namespaces": list(self.namespaces),
            "ordered_by": self.ordered_by,
        }


class Taken(NamedTuple):
    """An event to be delivered: JSON text, as it is in the queue. `attempt` is 1 for the first delivery."""

    msg_id: int
    attempt: int
    event: str


class Verdict(NamedTuple):
    """What became of a delivery. `after` is how long to wait, `error` what to keep of it."""

    msg_id: int
    attempt: int
    kind: Kind
    after: timedelta | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Round:
    """The answer to a round of a relay."""

    events: list[Taken]
    next_due_seconds: float | None = None
    """Until there may be something to deliver; None when nothing waits."""
    stopped: str | None = None
    """Why nothing is taken until somebody resumes the relay."""
    removed: bool = False
    """There is no such relay any more."""
    superseded: list[int] = field(default_factory=list)
    """Messages whose verdict changed nothing: they were no longer ours."""


async def bindings_set(database: Database, bindings: Sequence[Binding]) -> list[str] | None:
    """Exactly these are bound by configuration; `queue pattern` of those that were and are not now, None: no change."""
    gone: list[str] | None = await database.fetchval(
        "select tasker.bindings_set(null, $1)", _json([binding.row() for binding in bindings])
    )
    return gone


async def relay_register(
    database: Database,
    name: str,
    *,
    plugin: str,
    events: Sequence[str],
    namespaces: Sequence[str],
    ordered_by: str | None,
) -> bool:
    """Says that the relay is run and which events it gets; whether these are others than before."""
    bindings = [Binding(f"{name}_relay", pattern, namespaces, ordered_by).row() for pattern in dict.fromkeys(events)]
    relay = {
        "name": name,
        "plugin": plugin,
        "events": list(events),
        "namespaces": list(namespaces),
        "ordered_by": ordered_by,
        "bindings": bindings,
    }
    return bool(await database.fetchval("select tasker.relay_register($1)", _json(relay)))


async def relay_round(
    database: Database, relay: str, verdicts: Sequence[Verdict], *, want: int, lease: timedelta
) -> Round:
    """Tells what became of deliveries and takes up to `want` events, in one transaction."""
    columns = zip(*verdicts, strict=True) if verdicts else ([] for _ in Verdict._fields)
    rows = await database.fetch(
        "select * from tasker.relay_round($1, $2, $3, $4, $5, $6, $7, $8)", relay, *map(list, columns), want, lease
    )
    summary = orjson.loads(rows[-1]["summary"])
    return Round(
        events=sorted(Taken(row["msg_id"], row["attempt"], row["event"]) for row in rows[:-1]),
        next_due_seconds=summary.get("next_due"),
        stopped=summary.get("stopped"),
        removed=summary.get("removed", False),
        superseded=summary.get("superseded", []),
    )


async def relay_renew(database: Database, relay: str, held: Sequence[Taken], *, lease: timedelta) -> set[int]:
    """Pushes out the leases of deliveries under way; the messages of those that are still ours."""
    return set(
        await database.fetchval(
            "select tasker.relay_renew($1, $2, $3, $4)",
            relay,
            [taken.msg_id for taken in held],
            [taken.attempt for taken in held],
            lease,
        )
    )


async def relay_tidy(database: Database, relay: str) -> None:
    """Says that the relay is run, and frees events that wait behind one which somebody else took away."""
    await database.fetchval("select tasker.relay_tidy($1)", relay)


async def relay_there(database: Database, relay: str) -> bool:
    return bool(await database.fetchval("select exists (select from tasker.relays where name = $1)", relay))


async def relay_names(database: Database) -> list[str]:
    return [row[0] for row in await database.fetch("select name from tasker.relays order by name")]


async def relays_stats(database: Database) -> list[Row]:
    """Every relay that there is or was: its state, what waits and is dead, its counts and its last error.

    `delivered`, `retried` and `dead` count from its first start, on all hosts together. Counts rows of its queues.
    """
    return [loads(row[0]) for row in await database.fetch("select tasker.relays_stats()::text")]


async def relay_stop(database: Database, relay: str, because: str | None) -> bool:
    """Nothing of it is delivered until it is resumed; its events wait. False: there is no such relay.

    A relay that is stopped already gets the new reason; without one it keeps the one it has.
    """
    return bool(await database.fetchval("select tasker.relay_stop($1, $2)", relay, because))


async def relay_resume(database: Database, relay: str) -> bool:
    return bool(await database.fetchval("select tasker.relay_resume($1)", relay))


async def relay_remove(database: Database, relay: str, *, force: bool) -> int | None:
    """Ends it with its queues; how many events were in them: when there are some, only with `force`. None: no such."""
    left: int | None = await database.fetchval("select tasker.relay_remove($1, $2)", relay, force)
    return left


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Which events: what is None does not filter. `since` is included, `until` is not."""

    name: str | None = None
    """A pattern."""
    namespace: str | None = None
    task_uuid: UUID | None = None
    event_id: UUID | None = None
    since: datetime | None = None
    until: datetime | None = None

    def json(self) -> str:
        return _json(
            {
                "regex": None if self.name is None else pattern_regex(self.name),
                "namespace": self.namespace,
                "task_uuid": self.task_uuid,
                "event_id": self.event_id,
                "since": self.since,
                "until": self.until,
            }
        )


async def events_replay(
    database: Database,
    source: Source,
    wanted: EventFilter,
    *,
    relay: str | None = None,
    queue: str | None = None,
    limit: int,
    dry: bool,
) -> list[Row]:
    """Sends events again, or with `dry` only tells which would be; up to `limit` of each queue."""
    rows = await database.fetch(
        "select * from tasker.events_replay($1, $2, $3, $4, $5, $6)", source, relay, queue, wanted.json(), limit, dry
    )
    return [dict(row) for row in rows]


async def check_queue(database: Database, queue: str) -> None:
    """Raises InvalidRequest where there is no such queue, or where what is in it are no events."""
    if (whose := own_queue(queue)) is not None:
        raise InvalidRequest(f"{queue!r} is a queue of {whose}: its messages are no events")
    if not await database.fetchval(query("consume_there"), queue):
        names = sorted(await event_queues(database))
        hint = did_you_mean(queue, names) or f"; events are in {', '.join(names) or 'none yet'}"
        raise InvalidRequest(f"no queue {queue!r} in this database{hint}")


async def relays_ring(database: Database) -> None:
    """Hosts look for something to deliver."""
    await database.fetch("select pg_notify($1, '')", EVENTS)


async def queue_retain(database: Database, queue: str, age: timedelta, *, archived: bool = False) -> int:
    """Takes messages away that are older than `age` and that nobody holds; how many."""
    gone, after = 0, 0
    while True:
        row = await database.fetchrow(
            "select * from tasker.queue_retain($1, $2, $3, $4, $5)", queue, archived, age, after, _RETAIN_BATCH
        )
        assert row is not None
        gone += int(row["taken"])
        if row["last"] is None:
            return gone
        after = row["last"]


_RETAIN_BATCH = 1_000


async def consumed_retain(database: Database, age: timedelta) -> int:
    """Forgets what consumers did longer ago than `age`; how many events."""
    return int(await database.fetchval("select tasker.consumed_retain($1)", age))


async def event_queues(database: Database) -> list[str]:
    """The queues of namespaces and bindings, which consumers outside read."""
    return [row[0] for row in await database.fetch("select * from tasker.event_queues() q order by q")]


def _json(value: Any) -> str:
    return orjson.dumps(value).decode()
