"""Events of outcomes that were reported, or are to be: told once the outcome was accepted, else never."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from tasker_host.db.kernel import Outcome, Taken
from tasker_host.domain.result import Failed
from tasker_host.events.build import Publication
from tasker_host.events.hub import Events
from tasker_host.worker.execute import context_of, error_json


class Publications:
    """By step and attempt. What is reported in vain stays here until it is reported again."""

    def __init__(self, events: Events) -> None:
        self._events = events
        self._pending: dict[tuple[UUID, int], Publication] = {}

    def keep(self, publication: Publication | None) -> None:
        if publication is not None:
            self._pending[publication.step.step_uuid, publication.step.attempt] = publication

    def reported(self, outcomes: Sequence[Outcome], taken: Taken) -> None:
        """These outcomes were reported: those that were not superseded are accepted."""
        if not self._pending:
            return
        superseded = set(taken.superseded)
        for outcome in outcomes:
            publication = self._pending.pop((outcome.step_uuid, outcome.attempt), None)
            if publication is not None and outcome.step_uuid not in superseded:
                self._events.accepted(publication)

    async def instead(self, outcome: Outcome, refused: Failed) -> Outcome:
        """The failure to report for an outcome that the database refused, with the events of a failure."""
        failure = outcome._replace(
            kind="failed",
            value=error_json(refused, will_retry=False),
            metadata=None,
            retry_after=None,
            expand=None,
            events=(),
        )
        publication = self._pending.get((outcome.step_uuid, outcome.attempt))
        if publication is None:
            return failure
        step, plan = publication.step, publication.plan
        publication = await self._events.build(step, plan, failure, lambda: context_of(step, plan))
        self.keep(publication)
        return publication.outcome
