"""The loop of one relay in one process: takes events from the relay's queue, delivers them, says what became of them.

Any number of processes run the loop of the same relay: what one has taken is its own until its lease ends.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Callable

import asyncpg
import structlog

from tasker_host.db.database import TRANSIENT, Database
from tasker_host.db.relays import (
    Round,
    Taken,
    Verdict,
    relay_register,
    relay_renew,
    relay_round,
    relay_there,
    relay_tidy,
)
from tasker_host.domain.event import DomainEvent
from tasker_host.errors import DatabaseUnavailable
from tasker_host.events.delivery import Deliverer, RelayOptions
from tasker_host.hooks.relay import Relay
from tasker_host.runtime.breaker import Breaker, BreakerState, Call

log = structlog.get_logger("tasker.relay")

TIDY_SECONDS = 60.0
"""How often a loop says that its relay is run."""

AGAIN_SECONDS = 0.05
"""After a round that left what is due to somebody else."""

RETRY_SECONDS = 1.0
"""After the database did not answer."""

ABANDON_SECONDS = 1.0
"""For deliveries to end once they were cancelled."""

END_SECONDS = 5.0
"""For what a loop that stops has to say to the database."""


async def register(database: Database, plugin: str, relay: Relay) -> None:
    """From now on the relay's events are kept for it, whether it runs or not."""
    changed = await relay_register(
        database,
        relay.name,
        plugin=plugin,
        events=sorted(relay.events),
        namespaces=sorted(relay.namespaces),
        ordered_by=relay.ordered_by,
    )
    if changed:
        log.info("relay bound", relay=relay.name, events=sorted(relay.events))


class RelayLoop:
    """`look` wakes it; `stop` ends it. `clock` is in seconds."""

    def __init__(
        self,
        relay: Relay,
        plugin: str,
        database: Database,
        options: RelayOptions,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.relay = relay
        self.stopped_because: str | None = None
        self._plugin = plugin
        self._database = database
        self._options = options
        self._clock = clock
        self._deliverer = Deliverer(relay, options)
        self.breaker = Breaker(
            failure_threshold=options.breaker_failures,
            open_seconds=options.breaker_open_seconds,
            success_threshold=options.breaker_successes,
            now=clock,
        )
        self._buffer: deque[Taken] = deque()
        self._running: dict[Taken, asyncio.Task[None]] = {}
        self._ours_until: dict[Taken, float] = {}
        self._verdicts: list[Verdict] = []
        self._wake = asyncio.Event()
        self._may_wait = False
        """Whether the queue had nothing more when it was last looked at."""
        self._look_at = 0.0
        self._tidy_at = 0.0
        self._failing = False
        self._stopping = False
        self._grace_seconds = 0.0
        self._ended = asyncio.Event()
        self._ended.set()

    @property
    def running(self) -> int:
        """Deliveries under way."""
        return len(self._running)

    def look(self) -> None:
        """There may be something to deliver."""
        self._look_at = 0.0
        self._wake.set()

    async def run(self) -> None:
        """Until it was stopped, or removed by an operator."""
        self._ended.clear()
        try:
            await register(self._database, self._plugin, self.relay)
            async with asyncio.TaskGroup() as group:
                renewing = group.create_task(self._renew(), name=f"tasker-relay-{self.relay.name}-renew")
                try:
                    await self._run()
                finally:
                    renewing.cancel()
        except asyncio.CancelledError:
            for task in self._running.values():
                task.cancel()
            raise
        finally:
            self._ended.set()

    def stop_taking(self, *, grace_seconds: float) -> None:
        """Takes nothing more; deliveries under way get so long. What has not ended then is given back."""
        self._stopping, self._grace_seconds = True, grace_seconds
        self._wake.set()

    async def stop(self, *, grace_seconds: float) -> None:
        """The same, and returns when that is done."""
        self.stop_taking(grace_seconds=grace_seconds)
        try:
            async with asyncio.timeout(grace_seconds + END_SECONDS):
                await self._ended.wait()
        except TimeoutError:
            log.warning("relay did not end in time; what it holds comes to others", relay=self.relay.name)

    async def _run(self) -> None:
        while not self._stopping:
            if not await self._round():
                log.warning("relay was removed, it is not run any more", relay=self.relay.name)
                return
            await self._pause()
        self._give_back()
        if self._running:
            await asyncio.wait(self._running.values(), timeout=self._grace_seconds)
        late = dict(self._running)
        for task in late.values():
            task.cancel()
        if late:
            log.warning("deliveries did not end in time, given back", relay=self.relay.name, events=len(late))
            await asyncio.wait(late.values(), timeout=ABANDON_SECONDS)
        # One that cannot be stopped stays ours until its lease ends: nobody is to deliver it at the same time.
        self._verdicts += [Verdict(t.msg_id, t.attempt, "released") for t, task in late.items() if task.cancelled()]
        if self._verdicts:
            await self._round()

    # Rounds -----------------------------------------------------------------------------------------------------------

    async def _round(self) -> bool:
        """One round trip; whether there is still such a relay."""
        self._wake.clear()
        verdicts, self._verdicts = self._verdicts, []
        want = self._want()
        now = self._clock()
        if not verdicts and (want == 0 or (self._may_wait and now < self._look_at)):
            return True
        try:
            if now >= self._tidy_at:
                self._tidy_at = now + TIDY_SECONDS * random.uniform(0.9, 1.1)  # noqa: S311 - jitter, not a secret
                await relay_tidy(self._database, self.relay.name)
            answer = await relay_round(self._database, self.relay.name, verdicts, want=want, lease=self._options.lease)
        except (DatabaseUnavailable, *TRANSIENT) as error:
            # What was said may or may not have been taken: saying it again changes nothing if it was.
            self._verdicts = verdicts + self._verdicts
            self._may_wait, self._look_at = True, self._clock() + RETRY_SECONDS
            if not self._failing:
                log.warning("relay waits for the database", relay=self.relay.name, error=str(error))
            self._failing = True
            return True
        except asyncpg.UndefinedTableError:
            # Its queue is gone: with the relay, or alone; then it is made anew.
            self._verdicts = verdicts + self._verdicts
            if not await relay_there(self._database, self.relay.name):
                return False
            await register(self._database, self._plugin, self.relay)
            return True
        except asyncpg.PostgresError:
            self._verdicts = verdicts + self._verdicts
            raise
        self._failing = False
        self._received(answer, want, now)
        return not answer.removed

    def _received(self, answer: Round, want: int, asked_at: float) -> None:
        for message in answer.superseded:
            log.warning("came too late, the event is delivered again", relay=self.relay.name, message=message)
        if answer.stopped != self.stopped_because:
            self.stopped_because = answer.stopped
            if answer.stopped is not None:
                log.error("relay stopped: its events wait until it is resumed", relay=self.relay.name,
                          because=answer.stopped)  # fmt: skip
            else:
                log.info("relay resumed", relay=self.relay.name)
        until = asked_at + self._options.lease.total_seconds()
        for taken in answer.events:
            self._ours_until[taken] = until
        self._buffer += answer.events
        if want:
            self._may_wait = len(answer.events) < want
            pause = self._options.poll_interval_seconds * random.uniform(0.75, 1.25)  # noqa: S311 - jitter
            if answer.next_due_seconds is not None and answer.stopped is None:
                pause = min(pause, max(AGAIN_SECONDS, answer.next_due_seconds))
            if not self._wake.is_set():  # a bell since is a hint of something newer
                self._look_at = self._clock() + pause
        if answer.stopped is not None or self._stopping:
            self._give_back()
        self._start()

    def _want(self) -> int:
        """How many events to take: a batch ahead, nothing while the target is left alone, one to try it."""
        if self._stopping:
            return 0
        match self.breaker.state:
            case BreakerState.OPEN:
                return 0
            case BreakerState.HALF_OPEN:
                return 1 if not self._running and not self._buffer else 0
            case BreakerState.CLOSED:
                if len(self._buffer) >= self._options.concurrency:
                    return 0
                return max(self._options.batch_size, self._options.concurrency) - len(self._buffer) - self.running

    async def _pause(self) -> None:
        """Returns when there is something to say or to take."""
        if self._verdicts and not self._failing:
            # Others end in this same instant: one round for all of them.
            await asyncio.sleep(0)
            return
        now = self._clock()
        wait: float | None
        if self.breaker.state is BreakerState.OPEN:
            wait = self.breaker.retry_after
        elif self._want() and not (self._may_wait and now < self._look_at):
            wait = 0.0
        else:
            wait = max(0.0, self._look_at - now) if self._want() else None
        if self._failing:
            wait = RETRY_SECONDS * random.uniform(0.75, 1.25)  # noqa: S311 - jitter, not a secret
        try:
            async with asyncio.timeout(wait):
                await self._wake.wait()
        except TimeoutError:
            pass

    # Deliveries -------------------------------------------------------------------------------------------------------

    def _start(self) -> None:
        while self._buffer and self.running < self._options.concurrency and not self._stopping:
            if self._ours_until.get(self._buffer[0], 0.0) <= self._clock():
                # Not renewed in time, while the database was away: somebody else may have it by now.
                self._ours_until.pop(self._buffer.popleft(), None)
                continue
            opened = self._deliverer.opened(self._buffer[0])
            if isinstance(opened, Verdict):
                self._ours_until.pop(self._buffer.popleft(), None)
                self._verdicts.append(opened)
                self._wake.set()
                continue
            call = self.breaker.begin()
            if call is None:
                if self.breaker.state is BreakerState.OPEN:
                    self._give_back()
                return
            taken = self._buffer.popleft()
            delivery = self._deliver(taken, opened, call)
            self._running[taken] = asyncio.create_task(delivery, name=f"tasker-relay-{self.relay.name}")

    async def _deliver(self, taken: Taken, event: DomainEvent, call: Call) -> None:
        said = None
        try:
            said = await self._deliverer.deliver(taken, event)
        finally:
            self._running.pop(taken, None)
            still_ours = self._ours_until.pop(taken, None) is not None
            if said is None:
                # Cancelled by us says nothing about the target.
                self.breaker.given_up(call)
            elif said.target_ok:
                self.breaker.succeeded(call)
            else:
                self._failed(call)
            if said is not None and still_ours:
                self._verdicts.append(said.verdict)
                if said.verdict.kind in ("held", "gone"):
                    self._give_back()
            self._start()
            self._wake.set()

    def _failed(self, call: Call) -> None:
        was = self.breaker.state
        self.breaker.failed(call)
        if was is BreakerState.CLOSED and self.breaker.state is BreakerState.OPEN:
            log.warning(
                "target fails, it is left alone for a while",
                relay=self.relay.name,
                failures=self.breaker.failures,
                seconds=self._options.breaker_open_seconds,
            )

    def _give_back(self) -> None:
        """What was taken ahead and not begun is for others, or for later."""
        for taken in self._buffer:
            self._ours_until.pop(taken, None)
            self._verdicts.append(Verdict(taken.msg_id, taken.attempt, "released"))
        self._buffer.clear()
        if self._verdicts:
            self._wake.set()

    async def _renew(self) -> None:
        every = self._options.lease.total_seconds() / 3
        while True:
            await asyncio.sleep(every)
            held = [*self._running, *self._buffer]
            if not held:
                continue
            asked_at = self._clock()
            try:
                async with asyncio.timeout(every):
                    ours = await relay_renew(self._database, self.relay.name, held, lease=self._options.lease)
            except (DatabaseUnavailable, asyncpg.PostgresError, TimeoutError) as error:
                told = str(error) or type(error).__name__
                log.warning("leases of events not renewed", relay=self.relay.name, error=told)
                for taken in held:
                    # Before the next look it is somebody else's, who must not deliver it at the same time.
                    if self._ours_until.get(taken, asked_at + every) < asked_at + every:
                        self._lost(taken)
                continue
            until = asked_at + self._options.lease.total_seconds()
            for taken in held:
                if taken.msg_id in ours and taken in self._ours_until:
                    self._ours_until[taken] = until
                elif taken.msg_id not in ours and taken in self._ours_until:
                    self._lost(taken)

    def _lost(self, taken: Taken) -> None:
        log.warning("event is somebody else's by now", relay=self.relay.name, message=taken.msg_id)
        del self._ours_until[taken]
        if taken in self._running:
            self._running[taken].cancel()
        else:
            self._buffer.remove(taken)
