"""One worker: one loop, one held connection (`calls`), at most one call in flight.

While a call is away, finished handlers collect; when it returns, everything that collected goes into the next call. The
next call is sent before the handlers of the steps just received run, so the database and the handlers work at the same
time; no call takes more than half of the slots, which keeps two such halves in balance.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, cast
from uuid import UUID

import structlog

from tasker_host.db.database import Database
from tasker_host.db.kernel import NOBODY, Claimed, Outcome, Taken, Taker, steps_finish
from tasker_host.db.listen import ENDED, STOP, Bell, Listener, work
from tasker_host.domain.ids import WorkerId
from tasker_host.domain.result import Failed
from tasker_host.errors import DatabaseUnavailable
from tasker_host.events.hub import Events
from tasker_host.hooks.records import Classifier, Middleware
from tasker_host.worker.calls import Calls
from tasker_host.worker.capacity import Capacity
from tasker_host.worker.execute import error_json, released
from tasker_host.worker.lease import LeaseKeeper
from tasker_host.worker.options import Plans, WorkerCounts, WorkerOptions
from tasker_host.worker.outlook import Outlook
from tasker_host.worker.pulse import Pulse
from tasker_host.worker.slots import Slots
from tasker_host.worker.transaction import StepTransaction
from tasker_host.worker.unserved import Unserved

if TYPE_CHECKING:
    from asyncpg import Connection

    from tasker_host.events.build import Publication

log = structlog.get_logger("tasker.worker")

LAST_REPORT_SECONDS = 5.0
"""After the grace period: how long a stopping worker tries to report what has finished while nothing answers it."""


@dataclass(frozen=True, slots=True)
class _Call:
    """A call on its way: what it reports, how many steps it asks for, whether also from the queues."""

    outcomes: list[Outcome]
    want: int
    look: bool
    answer: Awaitable[tuple[Taken | None, list[Outcome]]]


class Worker:
    """Takes steps of `namespaces`, runs their handlers, and reports what became of them."""

    slots_class: ClassVar[type[Slots]] = Slots
    calls_class: ClassVar[type[Calls]] = Calls

    def __init__(
        self,
        worker_id: WorkerId,
        options: WorkerOptions,
        *,
        database: Database,
        listen_database: Database,
        doorbell: Bell,
        plans: Plans,
        namespaces: Sequence[str],
        classifiers: Sequence[Classifier] = (),
        middleware: Sequence[Middleware] = (),
        on_connected: Callable[[], None] = lambda: None,
        on_ended: Callable[[list[UUID]], None] = lambda _: None,
        on_relayed: Callable[[], None] = lambda: None,
        events: Events,
    ) -> None:
        self.id = worker_id
        self.namespaces = list(namespaces)
        self.options = options
        self.counts = WorkerCounts()
        self._database = database
        self._listen_database = listen_database
        self._doorbell = doorbell
        self._plans = plans
        self._on_ended = on_ended
        self._on_relayed = on_relayed
        self._slots = self.slots_class(
            self._finished,
            transaction=lambda: StepTransaction(self._database, self._finish_on),
            committed=self._committed,
            events=events,
            result_max_bytes=options.result_max_bytes,
            classifiers=classifiers,
            middleware=middleware,
        )
        self._outcomes: list[Outcome] = []
        self._events = events
        self._checkpoints: list[tuple[Claimed, str]] = []
        self._recalled = False
        self._waiter: asyncio.Future[None] | None = None
        self._leases: LeaseKeeper | None = None
        self._ahead: asyncio.Future[tuple[Taken | None, list[Outcome]]] | None = None
        """The last call that was made ahead, the only one that may still be on its way at the end."""
        self._stop_at: float | None = None
        self._last_report_at = math.inf
        self._unserved = Unserved(worker_id, options.slots)
        self._tags = list(options.tags) or None
        self._calls = self.calls_class(
            worker_id,
            options,
            database=database,
            namespaces=self.namespaces,
            tags=self._tags,
            on_connected=on_connected,
            instead=self._instead,
        )
        self._capacity = Capacity(options, self._slots.__len__, worker=worker_id)
        self._outlook = Outlook(None if options.mode == "event_driven" else options.poll_interval_seconds)

    # What others may call ---------------------------------------------------------------------------------------------

    @property
    def connected(self) -> bool:
        return self._calls.connected

    @property
    def running(self) -> int:
        return len(self._slots)

    @property
    def abandoned_threads(self) -> int:
        """Handlers that could not be stopped: in a thread, or because they go on although they were cancelled."""
        return self._slots.abandoned_threads

    @property
    def slots(self) -> int:
        return self._capacity.slots

    @property
    def state(self) -> str:
        if self._stop_at is not None:
            return "draining"
        return "shedding" if self._capacity.is_shedding and self._capacity.may_shed else "running"

    @property
    def unserved(self) -> list[tuple[int, str]]:
        """Template and step of what it was given and has no handler for."""
        return self._unserved.steps

    def beat(self, saturation: float) -> None:
        """Once in a while: more or fewer slots, by what has run; `saturation` is that of the database's connections."""
        if self._capacity.beat(saturation):
            self._rouse()

    def wake(self) -> None:
        """There may be work: look at once."""
        self._outlook.bell = True
        self._rouse()

    def heard(self, channel: str) -> None:
        """A bell rang: there may be work, or steps that run here may have been taken away."""
        if channel == STOP:
            self._recalled = bool(len(self._slots))
            self._rouse()
        else:
            self.wake()

    def reserve(self, steps: Mapping[str, int]) -> Taker:
        """Room for so many steps by namespace, kept until `given`; NOBODY when there is not enough."""
        want = sum(steps.values())
        has_room = self.connected and self._stop_at is None and want <= self._capacity.room
        if not has_room or self._capacity.is_shedding or not steps.keys() <= set(self.namespaces):
            return NOBODY
        self._capacity.promise(want)
        return Taker(self.id, self.namespaces, want, self.options.lease, look=self._outlook.is_due, tags=self._tags)

    def given(self, taker: Taker, steps: list[Claimed]) -> None:
        """Runs `steps`, which are leased to this worker; ends the reservation."""
        self._capacity.keep(taker.want)
        self._start(steps)
        self._rouse()

    @property
    def is_idle(self) -> bool:
        """Whether it runs nothing, reports nothing and asks for nothing at the moment."""
        busy = len(self._slots) or self._outcomes or self._checkpoints or self._calls.are_busy
        return self.connected and not busy

    @property
    def is_unreported(self) -> bool:
        """Whether something that has ended is not stored yet."""
        return bool(self._outcomes or self._checkpoints)

    def lend(self) -> AbstractAsyncContextManager[Connection]:
        """The connection of an idle worker, which waits for it meanwhile. Raises DatabaseUnavailable."""
        return self._calls.lend()

    def stop(self, *, grace_seconds: float | None = None) -> None:
        """Claim nothing more, let running handlers finish for the grace period, give back the rest. `run` then ends."""
        grace = self.options.shutdown_grace_seconds if grace_seconds is None else grace_seconds
        stop_at = time.monotonic() + grace
        self._stop_at = stop_at if self._stop_at is None else min(self._stop_at, stop_at)
        self._rouse()

    async def run(self) -> None:
        """Works until `stop`."""
        loop = asyncio.get_running_loop()

        def lost(steps: list[UUID]) -> None:
            loop.call_soon_threadsafe(self._slots.stop, "lost", steps)

        self._leases = LeaseKeeper(self._database, self.id, self.options.lease, self._slots.leases, lost)
        self._leases.start()
        pulse = self._pulse()
        helpers = [asyncio.create_task(self._slots.watch_overruns(), name="tasker-overruns")]
        if self.options.mode != "polling":
            channels = [STOP, *(work(namespace) for namespace in self.namespaces)]
            listener = Listener(self._listen_database, channels, self.heard, own=self._doorbell)
            helpers.append(asyncio.create_task(listener.run(), name="tasker-listener"))
        try:
            await self._work()
        finally:
            for helper in helpers:
                helper.cancel()
            await asyncio.gather(*helpers, return_exceptions=True)
            await asyncio.to_thread(self._leases.stop)
            if pulse is not None:
                await asyncio.to_thread(pulse.stop)
            self._calls.close()

    def _pulse(self) -> Pulse | None:
        if not self.options.max_blocked_seconds:
            return None
        pulse = Pulse(
            database=self._database,
            worker=self.id,
            namespaces=self.namespaces,
            lease=self.options.lease,
            max_blocked_seconds=self.options.max_blocked_seconds,
            held=self._slots.held,
        )
        pulse.start()
        return pulse

    # The loop ---------------------------------------------------------------------------------------------------------

    async def _work(self) -> None:
        call: _Call | None = None
        try:
            while call is not None or self._stop_at is None or not self._stopped(self._stop_at):
                if call is None:
                    if self._recalled:
                        await self._give_up_what_is_lost()
                    if self._checkpoints:
                        await self._save_checkpoints()
                    call = self._call()
                if call is None:
                    await self._wait()
                else:
                    call = await self._answered(call)
        finally:
            if self._ahead is not None:
                self._ahead.cancel()
                await asyncio.gather(self._ahead, return_exceptions=True)

    def _call(self, *, ahead: bool = False) -> _Call | None:
        """Reports what has ended and takes more, if there is any of it; `ahead`: nobody waits for it yet."""
        want = self._capacity.room if self._stop_at is None else 0
        look = want > 0 and not self._capacity.is_shedding and self._outlook.is_due
        if not self._outcomes and not look:
            return None
        outcomes, self._outcomes = self._outcomes, []
        if look:
            self._outlook.looks()
        answer: Awaitable[tuple[Taken | None, list[Outcome]]] = self._calls.take(outcomes, want, look=look)
        if ahead:
            answer = self._ahead = asyncio.ensure_future(answer)
        return _Call(outcomes, want, look, answer)

    async def _answered(self, call: _Call) -> _Call | None:
        """Begins what a call took; the next call, if it was made meanwhile."""
        taken, left = await call.answer
        self._outcomes = left + self._outcomes
        if taken is None:
            self._outlook.bell = True
            return None
        self._last_report_at = math.inf
        self._received(taken, call)
        following = None
        self._capacity.promise(len(taken.steps))
        try:
            if self._outcomes and self._stop_at is None and not (self._recalled or self._checkpoints):
                # The next call goes out before these steps begin: the database does not wait for that.
                following = self._call(ahead=True)
                await asyncio.sleep(0)  # it is made,
                await asyncio.sleep(0)  # and on its way
            self._tell_events(call.outcomes[: len(call.outcomes) - len(left)], taken)
            self._tell(taken)
            for template_id in {step.template_id for step in taken.steps}:
                if self._plans.known(template_id) is None:
                    await self._load(template_id)
        finally:
            self._capacity.keep(len(taken.steps))
        self._start(taken.steps)
        return following

    def _received(self, taken: Taken, call: _Call) -> None:
        """When to look again, and who else is to look."""
        self._share(taken)
        if call.want > 0 and len(taken.steps) >= call.want:
            # A full answer says nothing of what it left behind: others may find some of it.
            self._doorbell.ring([work(namespace) for namespace in self.namespaces])
            self._outlook.bell = True
        self._outlook.answered(taken.next_due_seconds, looked=call.look, yields=bool(self._unserved))

    def _share(self, taken: Taken) -> None:
        """Tells other workers of what is left for them."""
        if taken.left:
            self._doorbell.ring([work(namespace) for namespace in taken.left])
            self._outlook.bell = True

    def _tell(self, taken: Taken) -> None:
        """Tells those who wait for it what a call has changed; its events are told before that."""
        for step_uuid in taken.superseded:
            self.counts.superseded += 1
            log.warning("outcome came too late, nothing changed", step=str(step_uuid), worker=self.id)
        if taken.ended:
            self._on_ended(taken.ended)
            self._doorbell.ring([ENDED])
        if taken.relayed:
            self._on_relayed()

    def _start(self, steps: list[Claimed]) -> None:
        self.counts.claimed += len(steps)
        for step in steps:
            self._begin(step)

    def _begin(self, step: Claimed) -> None:
        plan = (self._plans.known(step.template_id) or {}).get(step.template_step)
        if plan is None:
            self._leave_to_others(step)
        else:
            self._slots.start(step, plan)
            if plan.lease is not None and self._leases is not None:
                self._leases.look()

    async def _load(self, template_id: int) -> None:
        # Where that fails, the step is left to others, and comes again.
        with contextlib.suppress(DatabaseUnavailable):
            await self._plans.load([template_id])

    def _leave_to_others(self, step: Claimed) -> None:
        self.counts.released += 1
        self._outcomes.append(released(step, after=self._unserved.leave(step)))

    def _finished(self, step: Claimed, outcome: Outcome) -> None:
        if outcome.kind == "checkpointed":
            assert outcome.value is not None
            self._checkpoints.append((step, outcome.value))
            self._rouse()
            return
        if outcome.kind == "succeeded":
            self.counts.succeeded += 1
        elif outcome.kind == "released":
            self.counts.released += 1
        else:
            self.counts.failed += 1
            self.counts.retried += outcome.retry_after is not None
            log.info(
                "step failed",
                step=str(outcome.step_uuid),
                task=str(outcome.task_uuid),
                attempt=outcome.attempt,
                retry_in_seconds=outcome.retry_after.total_seconds() if outcome.retry_after is not None else None,
                error=outcome.value,
                worker=self.id,
            )
        self._outcomes.append(outcome)
        self._rouse()

    async def _finish_on(self, connection: Connection, outcome: Outcome) -> Taken:
        """Within a handler's own transaction: its outcome only, what comes next is left to the queue."""
        return await steps_finish(connection, self.id, [outcome], [], want=0, lease=self.options.lease, tags=self._tags)

    def _committed(self, outcome: Outcome, taken: Taken) -> None:
        if not taken.superseded:
            self.counts.succeeded += 1
        self._share(taken)
        self._tell_events([outcome], taken)
        self._tell(taken)
        self._rouse()

    def _tell_events(self, outcomes: Sequence[Outcome], taken: Taken) -> None:
        """Of these outcomes, which were reported, those that counted as they were meant."""
        if taken.superseded or taken.final:
            otherwise = {*taken.superseded, *taken.final}
            outcomes = [outcome for outcome in outcomes if outcome.step_uuid not in otherwise]
        told = [outcome.telling for outcome in outcomes if outcome.telling is not None]
        if told:
            self._events.accepted(cast("list[Publication]", told))

    async def _instead(self, outcome: Outcome, refused: Failed) -> Outcome:
        """What is reported for an outcome that the database refused, with the events of a failure."""
        failure = outcome._replace(
            kind="failed", value=error_json(refused, will_retry=False), metadata=None, retry_after=None, expand=None
        )
        if outcome.telling is not None:
            await cast("Publication", outcome.telling).rebuild(failure)
        return failure

    # Calls ------------------------------------------------------------------------------------------------------------

    async def _save_checkpoints(self) -> None:
        """Saves how far steps have come; each goes on with it at once, unless it is no longer ours."""
        saved, self._checkpoints = self._checkpoints, []
        ours = await self._calls.checkpoint(saved)
        if ours is None:
            # Saved or not: to save it again does no harm.
            self._checkpoints = saved + self._checkpoints
            self._outlook.bell = True
            return
        for step, value in saved:
            if step.step_uuid not in ours:
                self.counts.superseded += 1
                log.warning("checkpoint came too late, nothing changed", step=str(step.step_uuid), worker=self.id)
            elif self._stop_at is not None:
                # What is saved is not lost: another worker goes on from there.
                self._outcomes.append(released(step))
            else:
                self.counts.checkpoints += 1
                self._begin(step._replace(checkpoint=value))

    async def _give_up_what_is_lost(self) -> None:
        """Asks which of the running steps are still ours, without waiting for the next renewal."""
        lost = await self._calls.renew(self._slots.held())
        self._recalled = lost is None
        if lost is None:
            self._outlook.bell = True
        else:
            self._slots.stop("lost", lost)
        if self._leases is not None:
            self._leases.look()

    # Waiting and ending -----------------------------------------------------------------------------------------------

    async def _wait(self) -> None:
        """Until roused, or until it is time to look."""
        loop = asyncio.get_running_loop()
        self._waiter = loop.create_future()
        may_look = self._stop_at is None and self._capacity.room and not self._capacity.is_shedding
        until = self._outlook.look_at if may_look else math.inf
        if self._stop_at is not None:
            over = time.monotonic() >= self._stop_at
            until = min(until, self._last_report_at if over else self._stop_at)
        timer = None
        if until < math.inf:
            timer = loop.call_later(max(0.0, until - time.monotonic()), self._rouse)
        try:
            await self._waiter
        finally:
            self._waiter = None
            if timer is not None:
                timer.cancel()

    def _rouse(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _stopped(self, stop_at: float) -> bool:
        now = time.monotonic()
        if now < stop_at:
            return not self._holds_something
        if len(self._slots):
            self._slots.stop("released")
        # The grace period bounds a lost database too: what is not reported by then falls to the leases. A slow one is
        # given the time that it takes: what is given back in time has used no attempt.
        self._last_report_at = min(self._last_report_at, now + LAST_REPORT_SECONDS)
        return not self._holds_something or now >= self._last_report_at

    @property
    def _holds_something(self) -> bool:
        return bool(len(self._slots) or self._outcomes or self._checkpoints or self._capacity.promised)
