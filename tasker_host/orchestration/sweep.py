"""Housekeeping, in every host: deadlines, tasks that stopped moving or failed for good, and what is not kept.

All of it is SQL that one host at a time does and the others leave to it (`db/sql/functions/90_sweep.sql` and after).
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import UUID

import structlog

from tasker_host.config.settings import RetentionAction, RetentionOverride, RetentionSettings, Settings
from tasker_host.db.database import TRANSIENT, Database
from tasker_host.db.sweep import (
    Policy,
    Swept,
    Thresholds,
    cycle_file,
    deadlines_enforce,
    failures_file,
    limits_offer,
    namespaces,
    tasks_retain,
    tasks_sweep,
    tasks_waiting,
    tasks_walk,
    turn_take,
    watches_due,
)
from tasker_host.domain.graph import cycles
from tasker_host.errors import DatabaseUnavailable

log = structlog.get_logger("tasker.sweep")

WALKS = {"near": timedelta(minutes=1), "far": timedelta(days=1)}
"""How long after it was made each walk reads a task: most have ended by the first, all are committed by the second."""

WALK_BATCH = 5_000
"""Tasks read in one transaction of a walk: some ten milliseconds."""

DEADLINES = 500
"""Tasks past their deadline that are ended in one transaction."""

PAUSE_SECONDS = 0.02
"""Between two transactions, so that others get their turn."""

RETRY_SECONDS = 1.0
"""After the database did not answer."""

LEAST_LOOK_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class SweepOptions:
    """What is done and how often. `retention_of` has policies by namespace, `retention_default` that of the others."""

    interval_seconds: float = 60
    batch_size: int = 100
    staleness: bool = True
    dry_run: bool = False
    thresholds: Thresholds = field(default_factory=Thresholds)
    retention: bool = False
    retention_default: Policy = Policy(None, None)  # noqa: RUF009 - frozen
    retention_of: Mapping[str, Policy] = field(default_factory=dict)
    retention_batch: int = 200
    retention_pause_seconds: float = 0.05

    def policy(self, namespace: str) -> Policy:
        return self.retention_of.get(namespace, self.retention_default)


@dataclass(slots=True)
class SweepCounts:
    """What this host's sweeps did since it started."""

    sweeps: int = 0
    stale: int = 0
    dead_letters: int = 0
    past_deadline: int = 0
    retained_away: int = 0


class Sweeper:
    """`on_ended` is told of tasks that a sweep ended."""

    def __init__(
        self, database: Database, options: SweepOptions, *, on_ended: Callable[[list[UUID]], None] = lambda _: None
    ) -> None:
        self.options = options
        self.counts = SweepCounts()
        self._database = database
        self._on_ended = on_ended

    # Loops ------------------------------------------------------------------------------------------------------------

    async def keep_deadlines(self) -> None:
        """Until cancelled: ends tasks when their deadline comes."""
        while True:
            pause = await self._asked(self.enforce_deadlines)
            most = self.options.interval_seconds
            await asyncio.sleep(most if pause is None else min(most, max(LEAST_LOOK_SECONDS, pause)))

    async def run(self) -> None:
        """Until cancelled: a sweep now and then, by this host or by another."""
        # Spread, so that hosts started together do not ask together; soon, so that one restarted often sweeps at all.
        await asyncio.sleep(self.options.interval_seconds * random.uniform(0, 0.25))  # noqa: S311 - no secret
        while True:
            await self._asked(self._take_turn)
            await asyncio.sleep(self.options.interval_seconds * random.uniform(0.9, 1.1))  # noqa: S311 - no secret

    async def _asked(self, work: Callable[[], Awaitable[float | None]]) -> float | None:
        try:
            return await work()
        except (DatabaseUnavailable, *TRANSIENT) as error:
            log.warning("sweep postponed", error=str(error) or type(error).__name__)
            return RETRY_SECONDS

    async def _take_turn(self) -> None:
        every = timedelta(seconds=self.options.interval_seconds * 0.8)
        if await turn_take(self._database, "sweep", every):
            await self.sweep()

    # What they do -----------------------------------------------------------------------------------------------------

    async def enforce_deadlines(self) -> float | None:
        """Ends what is past its deadline; in how many seconds to look again, None: when a sweep would."""
        while True:
            ended, next_seconds = await deadlines_enforce(self._database, limit=DEADLINES)
            if ended:
                self.counts.past_deadline += len(ended)
                log.warning("tasks past their deadline", tasks=[str(task) for task in ended])
                self._on_ended(ended)
            if next_seconds is None or next_seconds > 0:
                return next_seconds

    async def sweep(self) -> None:
        """Everything but deadlines, once."""
        began = time.monotonic()
        self.counts.sweeps += 1
        for name, lag in WALKS.items():
            await self._walk(name, lag)
        await self._file_failures()
        await limits_offer(self._database)
        if self.options.staleness:
            await self._break_cycles()
            await self._end_stale()
        if self.options.retention:
            await self.retain()
        log.debug("swept", took_ms=round((time.monotonic() - began) * 1000, 1))

    async def retain(self, *, lag: timedelta = WALKS["near"]) -> dict[str, int]:
        """Takes away what the policies do not keep; how many tasks, by namespace. None is younger than `lag`."""
        await self._walk("finished", lag)
        gone: dict[str, int] = {}
        for namespace in await namespaces(self._database):
            policy = self.options.policy(namespace)
            while policy and (
                taken := await tasks_retain(self._database, namespace, policy, limit=self.options.retention_batch)
            ):
                gone[namespace] = gone.get(namespace, 0) + taken
                self.counts.retained_away += taken
                await asyncio.sleep(self.options.retention_pause_seconds)
        if gone:
            log.info("finished tasks taken away", tasks=gone)
        return gone

    async def _walk(self, name: str, lag: timedelta) -> None:
        while await tasks_walk(self._database, name, lag=lag, limit=WALK_BATCH):  # noqa: ASYNC110 - it does work
            await asyncio.sleep(PAUSE_SECONDS)

    async def _file_failures(self) -> None:
        while True:
            looked, filed = await failures_file(
                self._database, limit=self.options.batch_size, files=self.options.thresholds.dead_letters
            )
            if not looked:
                return
            self._filed(filed)
            await asyncio.sleep(PAUSE_SECONDS)

    async def _break_cycles(self) -> None:
        for waiting in await tasks_waiting(self._database, limit=self.options.batch_size):
            found = cycles(waiting.steps)
            if not found:
                continue
            shown = " → ".join(found[0])
            if self.options.dry_run:
                log.info(
                    "task would be ended", task=str(waiting.task_uuid), reason="dependency_cycle_detected", cycle=shown
                )
                continue
            action = await cycle_file(self._database, waiting, found, self.options.thresholds)
            if action is not None:
                self.counts.stale += 1
                log.warning("steps wait for each other", task=str(waiting.task_uuid), cycle=shown, action=action)
                self._filed([waiting.task_uuid] if "dlq" in action else [])
                self._on_ended([waiting.task_uuid])

    async def _end_stale(self) -> None:
        due = await watches_due(self._database)
        while due is not None:
            found = await tasks_sweep(
                self._database, self.options.thresholds, limit=self.options.batch_size, dry_run=self.options.dry_run
            )
            self._tell(found)
            before, due = due, await watches_due(self._database)
            if due == before:
                return  # a dry run leaves them, and so does another host that is at it
            await asyncio.sleep(PAUSE_SECONDS)

    def _tell(self, found: list[Swept]) -> None:
        for stale in found:
            log.warning(
                "task is stale",
                task=str(stale.task_uuid),
                namespace=stale.namespace,
                template=stale.task_name,
                state=stale.current_state,
                minutes=stale.time_in_state_minutes,
                threshold_minutes=stale.threshold_minutes,
                reason=stale.reason,
                action=stale.action_taken,
            )
        self.counts.stale += len(found)
        self._filed([stale.task_uuid for stale in found if stale.moved_to_dlq])
        ended = [stale.task_uuid for stale in found if stale.transition_success]
        if ended:
            self._on_ended(ended)

    def _filed(self, tasks: list[UUID]) -> None:
        self.counts.dead_letters += len(tasks)
        if tasks:
            log.info("dead letters filed", tasks=[str(task) for task in tasks])


def sweep_options(settings: Settings) -> SweepOptions:
    """What the configuration says."""
    sweep, retention = settings.sweep, settings.retention
    stale = sweep.staleness
    return SweepOptions(
        interval_seconds=sweep.interval_seconds,
        batch_size=sweep.batch_size,
        staleness=stale.enabled,
        dry_run=stale.dry_run,
        thresholds=Thresholds(
            waiting_for_dependencies=stale.waiting_for_dependencies_minutes,
            waiting_for_retry=stale.waiting_for_retry_minutes,
            steps_in_process=stale.steps_in_process_minutes,
            other=stale.other_minutes,
            lifetime=stale.task_max_lifetime_hours * 60,
            dead_letters=sweep.dead_letters.enabled,
            fail=stale.auto_transition_to_error,
        ),
        retention=retention.enabled,
        retention_default=_policy(retention, RetentionOverride()),
        retention_of={name: _policy(retention, override) for name, override in retention.namespaces.items()},
        retention_batch=retention.batch_size,
        retention_pause_seconds=retention.pause_ms / 1000,
    )


def _policy(common: RetentionSettings, override: RetentionOverride) -> Policy:
    days = common.max_age_days if override.max_age_days is None else override.max_age_days
    count = common.max_count if override.max_count is None else override.max_count
    action = override.action or common.action
    return Policy(timedelta(days=days) if days else None, count or None, archive=action is RetentionAction.ARCHIVE)
