"""Events of failures that no worker hands in: of steps whose worker vanished on the last attempt."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from uuid import UUID

import asyncpg

from tasker_host.db.database import CONNECTION_LOST, Database
from tasker_host.db.kernel import Claimed, Outcome
from tasker_host.db.sqlfiles import query
from tasker_host.domain.json import json_array
from tasker_host.errors import DatabaseError
from tasker_host.events.build import Publication
from tasker_host.events.hub import Events
from tasker_host.worker.execute import context_of
from tasker_host.worker.options import Plans

BUILDING_SECONDS = 10.0
"""After so long what was built is sent: publishers may take their time, and the transaction must not be cut for it."""


class OwedEvents:
    """Any host may build them that knows the template; they are sent once, whoever is killed meanwhile."""

    def __init__(
        self,
        database: Database,
        events: Events,
        plans: Plans,
        template_ids: Callable[[], Iterable[int]],
        on_relayed: Callable[[], None],
    ) -> None:
        self._database = database
        self._events = events
        self._publications = events.publications(context_of)
        self._plans = plans
        self._template_ids = template_ids
        self._on_relayed = on_relayed
        self._unknown: set[UUID] = set()
        """Steps that this host has no handler or publisher for; another one may."""

    async def run(self, every_seconds: float) -> None:
        """Until cancelled: looks now and then."""
        while True:
            await asyncio.sleep(every_seconds)
            try:
                while await self.send():
                    pass
            except (DatabaseError, asyncpg.PostgresError, *CONNECTION_LOST):
                pass  # nothing was sent that was not also written down as sent

    async def send(self) -> int:
        """Builds and sends the events of some steps, in one transaction; how many. Raises what the database does."""
        relayed = False
        async with self._database.acquire() as connection, connection.transaction():
            rows = await connection.fetch(query("events_owed_take"), list(self._template_ids()), list(self._unknown))
            if not rows:
                return 0
            steps = await connection.fetch(query("events_owed_claimed"), [row["step_uuid"] for row in rows])
            known = {row["step_uuid"]: Claimed._make(tuple(row)[:-1]) for row in steps}
            told = []
            until = time.monotonic() + BUILDING_SECONDS
            for row in rows:
                publication = await self._built(known[row["step_uuid"]], row["attempt"], row["error"])
                if publication is None:
                    self._unknown.add(row["step_uuid"])
                else:
                    told.append(publication)
                if time.monotonic() >= until:
                    break
            by_namespace: dict[str, list[str]] = defaultdict(list)
            for publication in told:
                by_namespace[publication.step.namespace] += publication.messages
            for namespace, messages in by_namespace.items():
                if messages:
                    relayed = (
                        await connection.fetchval(query("events_send"), namespace, json_array(messages)) or relayed
                    )
            paid = [publication.step for publication in told]
            await connection.execute(
                query("events_owed_paid"), [step.step_uuid for step in paid], [step.attempt for step in paid]
            )
        self._events.accepted(told)
        if relayed:
            self._on_relayed()
        return len(told)

    async def _built(self, step: Claimed, attempt: int, error: str) -> Publication | None:
        plan = (self._plans.known(step.template_id) or {}).get(step.template_step)
        if plan is None:
            return None
        step = step._replace(attempt=attempt)
        outcome = Outcome(step.task_uuid, step.step_uuid, attempt, "failed", error, None, None, None)
        return await self._publications.now(step, plan, outcome)
