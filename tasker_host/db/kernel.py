"""The kernel's calls from Python: each takes a batch, is one round trip and one transaction (`sql/functions/`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol
from uuid import UUID

import orjson

from tasker_host.domain.ids import WorkerId
from tasker_host.domain.json import json_array

if TYPE_CHECKING:
    from asyncpg import Connection, Record


class Claimed(NamedTuple):
    """A step this worker holds; `context`, `values`, `inputs` and `checkpoint` are JSON texts or None."""

    step_uuid: UUID
    task_uuid: UUID
    namespace: str
    template_id: int
    name: str
    template_step: str
    attempt: int
    max_attempts: int
    msg_id: int
    correlation_id: UUID
    parent_correlation_id: UUID | None
    context: str
    values: str | None
    inputs: str | None
    checkpoint: str | None


class Telling(Protocol):
    """What is told of an outcome once it counts."""

    @property
    def messages(self) -> Sequence[str]:
        """The durable events, as JSON texts, sent if the outcome counts."""
        ...


class Outcome(NamedTuple):
    """What became of one attempt; `value` is the step's value, its error or its checkpoint, as JSON text.

    `retry_after` set on a failure means the step waits that long and is tried again; unset, it is in error.
    """

    task_uuid: UUID
    step_uuid: UUID
    attempt: int
    kind: Literal["succeeded", "failed", "released", "checkpointed"]
    value: str | None
    took_ms: float | None
    retry_after: timedelta | None
    metadata: str | None
    expand: str | None = None
    """The steps that a decision or an analyzer adds, as JSON text (`functions/45_expand.sql`)."""
    telling: Telling | None = None

    def told_by(self, telling: Telling) -> Outcome:
        """The same outcome, with its events."""
        return Outcome._make((*self[:-1], telling))


@dataclass(frozen=True, slots=True)
class Taken:
    """The answer to a claim or a finish."""

    steps: list[Claimed]
    ended: list[UUID] = field(default_factory=list)
    """Tasks that came to rest by this call: complete, error or blocked."""
    superseded: list[UUID] = field(default_factory=list)
    """Steps whose outcome changed nothing: their lease or attempt was no longer ours."""
    left: list[str] = field(default_factory=list)
    """Namespaces that got work which this worker did not take itself."""
    next_due_seconds: float | None = None
    """Until the next message comes due; None when nothing waits for a time."""
    relayed: bool = False
    """Whether a relay got a durable event by this call."""
    final: list[UUID] = field(default_factory=list)
    """Steps that were to be tried again and will not be, as their task is over: their events are owed, not sent."""


class Checkpointed(NamedTuple):
    """How far a running step has come: {"cursor", "items_processed", "accumulated_results"} as JSON text."""

    namespace: str
    step_uuid: UUID
    attempt: int
    msg_id: int
    checkpoint: str


MOST_CHECKPOINTS = 20
"""Checkpoints of a step that its history keeps."""


class NewTask(NamedTuple):
    """One element of `tasks_submit`; `context` and `tags` are JSON texts."""

    task_uuid: UUID
    template_id: int
    context: str
    priority: int
    identity_key: str | None
    tags: str | None
    correlation_id: UUID
    parent_correlation_id: UUID | None
    initiator: str
    source_system: str
    reason: str
    start_at: datetime | None
    limit_keys: str | None = None
    """Business keys as JSON text: {"*": of all its steps, "name": of that step}."""


class Taker(NamedTuple):
    """A worker with room for `want` more steps, to which a submission may give the first ones."""

    worker: WorkerId
    namespaces: Sequence[str]
    want: int
    lease: timedelta
    look: bool = True
    """Whether something older may wait in its queues; False: it knows that nothing does."""
    tags: Sequence[str] | None = None
    """It takes steps that ask for a subset of these; None: it takes everything."""


NOBODY = Taker(WorkerId(""), (), 0, timedelta(), look=False)


@dataclass(frozen=True, slots=True)
class Submitted:
    """For each task, in order, whether it was created or its identity belongs to another; `steps` are the taker's."""

    created: list[bool]
    steps: list[Claimed]


async def tasks_submit(
    connection: Connection, tasks: Sequence[NewTask], *, aging_interval: timedelta, taker: Taker = NOBODY
) -> Submitted:
    """Create tasks, and give the first steps to `taker` if it has room for all of them and nothing older waits.

    SQL: `functions/40_submit.sql`.
    """
    rows = await connection.fetch(
        "select * from tasker.tasks_submit("
        "$1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20)",
        *_columns(tasks),
        aging_interval,
        *taker,
    )
    return Submitted(created=orjson.loads(rows[-1]["summary"])["created"], steps=_claimed(rows))


async def steps_claim(
    connection: Connection,
    worker: WorkerId,
    namespaces: Sequence[str],
    *,
    want: int,
    lease: timedelta,
    tags: Sequence[str] | None = None,
) -> Taken:
    """Take up to `want` steps of these namespaces, with `tags` only those that ask for a subset of them.

    SQL: `functions/50_claim.sql`.
    """
    return _taken(
        await connection.fetch(
            "select * from tasker.steps_claim($1, $2, $3, $4, $5)", worker, namespaces, want, lease, tags
        )
    )


async def step_claim(
    connection: Connection, worker: WorkerId, step: UUID, *, lease: timedelta
) -> tuple[Claimed | None, str | None]:
    """Take this one step, if it is ready; else None, and why not. SQL: `functions/53_claim_one.sql`."""
    rows = await connection.fetch("select * from tasker.step_claim($1, $2, $3)", worker, step, lease)
    refused: str | None = orjson.loads(rows[-1]["summary"])["refused"]
    return next(iter(_claimed(rows)), None), refused


async def steps_finish(
    connection: Connection,
    worker: WorkerId,
    outcomes: Sequence[Outcome],
    namespaces: Sequence[str],
    *,
    want: int,
    lease: timedelta,
    look: bool = True,
    tags: Sequence[str] | None = None,
) -> Taken:
    """Apply outcomes and take up to `want` next steps, in one transaction.

    Without `look` only successors are taken: what else may wait in the queues is not looked at.
    Outcomes whose lease or attempt is no longer ours change nothing and come back in `.superseded`.
    SQL: `functions/60_finish.sql`.
    """
    events: list[str] = []
    event_of: list[int] = []
    for position, outcome in enumerate(outcomes, start=1):
        if outcome.telling is not None:
            for message in outcome.telling.messages:
                events.append(message)
                event_of.append(position)
    return _taken(
        await connection.fetch(
            "select * from tasker.steps_finish($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16,"
            " $17)",
            worker,
            *_columns(outcomes)[:-1],
            json_array(events) if events else None,
            event_of or None,
            namespaces,
            want,
            lease,
            look,
            tags,
        )
    )


def _columns(rows: Sequence[tuple[Any, ...]]) -> list[tuple[Any, ...] | None]:
    """Parallel arrays of these rows; None for one that holds nothing, which would take as long to send as values."""
    columns = zip(*rows, strict=True)
    return [None if column.count(None) == len(column) else column for column in columns]


async def steps_checkpoint(
    connection: Connection,
    worker: WorkerId,
    checkpoints: Sequence[Checkpointed],
    *,
    lease: timedelta,
) -> set[UUID]:
    """Save checkpoints of running steps and push out their leases; the steps that are still ours.

    SQL: `functions/75_checkpoint.sql`.
    """
    rows = await connection.fetch(
        "select * from tasker.steps_checkpoint($1, $2, $3, $4, $5, $6, $7, $8)",
        worker,
        *zip(*checkpoints, strict=True),
        MOST_CHECKPOINTS,
        lease,
    )
    return {row[0] for row in rows}


async def steps_renew(
    connection: Connection, worker: WorkerId, held: Sequence[Claimed], *, lease: timedelta
) -> list[UUID]:
    """Push out the leases of running steps; those returned are no longer ours and are to be stopped.

    SQL: `functions/70_renew.sql`.
    """
    rows = await connection.fetch(
        "select * from tasker.steps_renew($1, $2, $3, $4, $5, $6)",
        worker,
        [step.namespace for step in held],
        [step.step_uuid for step in held],
        [step.attempt for step in held],
        [step.msg_id for step in held],
        lease,
    )
    return [row[0] for row in rows]


async def worker_hold(connection: Connection, worker: WorkerId, namespaces: Sequence[str], *, lease: timedelta) -> int:
    """Push out the leases of everything that `worker` holds in these namespaces; how many.

    SQL: `functions/71_hold.sql`.
    """
    held: int = await connection.fetchval("select tasker.worker_hold($1, $2, $3)", worker, namespaces, lease)
    return held


def _taken(rows: list[Record]) -> Taken:
    summary = orjson.loads(rows[-1]["summary"])
    return Taken(
        steps=_claimed(rows),
        ended=[UUID(task) for task in summary["ended"]],
        superseded=[UUID(step) for step in summary.get("superseded", ())],
        left=summary.get("left", []),
        next_due_seconds=summary["next_due"],
        relayed=summary.get("relayed", False),
        final=[UUID(step) for step in summary.get("final", ())],
    )


def _claimed(rows: list[Record]) -> list[Claimed]:
    # The last row carries the summary instead of a step.
    return [Claimed._make(tuple(row)[:-1]) for row in rows[:-1]]
