"""A worker for one step that somebody names: it runs that one, reports it, and ends."""

from __future__ import annotations

from uuid import UUID

from tasker_host.db.database import Database
from tasker_host.db.kernel import NOBODY, Claimed, Outcome, Taken, step_claim
from tasker_host.db.sqlfiles import query
from tasker_host.domain.json import loads
from tasker_host.errors import (
    DatabaseUnavailable,
    HandlerError,
    IllegalMove,
    LeaseLost,
    PermanentError,
    RetryableError,
    StepNotFound,
    TemplateUnavailable,
)
from tasker_host.worker.loop import Worker
from tasker_host.worker.options import Plans

_WHY = {
    "held": "it is being taken by a worker at this moment, or its start is still to come",
    "limit": "there is no room under its limits (`tasker limit list`)",
    "paused": "its task is paused: resume that first",
    "pending": "steps that it depends on are not complete",
    "in_progress": "a worker runs it",
    "waiting_for_retry": "it waits for its backoff",
    "complete": "it is complete: reset it, or run its task again from it",
    "error": "it has failed for good: reset it for a retry first",
}


class OneStepWorker(Worker):
    """Made without namespaces: it finds nothing by itself."""

    outcome: Outcome | None = None
    """What the step came to."""

    def _finished(self, step: Claimed, outcome: Outcome) -> None:
        super()._finished(step, outcome)
        if outcome.kind != "checkpointed":
            # Now, before it is reported: a report of a worker that stops takes no successor.
            self.outcome = outcome
            self.stop()

    def _committed(self, outcome: Outcome, taken: Taken) -> None:
        super()._committed(outcome, taken)
        self.outcome = outcome
        self.stop()


async def run_one(worker: OneStepWorker, step_uuid: UUID, *, database: Database, plans: Plans) -> object:
    """The value of the step. Raises as `Host.run_one`."""
    rows = await database.fetch(query("step_plan"), step_uuid)
    if not rows:
        raise StepNotFound(f"there is no step {step_uuid}")
    (row,) = rows
    if plans.known(row["template_id"]) is None:
        await plans.load([row["template_id"]])
    if row["template_step"] not in (plans.known(row["template_id"]) or {}):
        raise TemplateUnavailable(
            f"step '{row['name']}' of {row['namespace']} has no handler here as its task's template asks for one:"
            " see `tasker plugin check`"
        )
    async with database.acquire() as connection:
        claimed, refused = await step_claim(connection, worker.id, step_uuid, lease=worker.options.lease)
    if refused == "not_found":
        raise StepNotFound(f"there is no step {step_uuid}")
    if claimed is None:
        raise IllegalMove(f"step '{row['name']}' cannot be taken: {_WHY.get(refused or '', f'it is {refused}')}")
    worker.given(NOBODY, [claimed])
    await worker.run()
    if worker.counts.superseded:
        raise LeaseLost(
            f"what step '{row['name']}' came to was not accepted: its lease, or its task, had ended meanwhile"
        )
    if worker.outcome is None or worker.is_unreported:
        raise DatabaseUnavailable(f"what step '{row['name']}' came to could not be stored: it is run again by others")
    return _value(worker.outcome)


def _value(outcome: Outcome) -> object:
    value = loads(outcome.value or "null")
    if outcome.kind == "succeeded":
        return value
    if outcome.kind == "failed":
        kind: type[HandlerError] = PermanentError if outcome.retry_after is None else RetryableError
        raise kind(
            value["message"],
            error_code=value.get("error_code"),
            error_type=value["error_type"],
            retry_after=outcome.retry_after,
            metadata=loads(outcome.metadata) if outcome.metadata else None,
        )
    raise RetryableError("the step was given back before it had ended", error_type="released")
