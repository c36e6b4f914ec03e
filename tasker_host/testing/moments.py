"""The moments of a task's run at which a worker can die, and a worker that passes through them one by one."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal
from uuid import UUID

from tasker_host.db.kernel import NOBODY, Claimed, Outcome, Taken, Taker
from tasker_host.domain.context import StepContext
from tasker_host.domain.event import DomainEvent
from tasker_host.events.build import Publication
from tasker_host.events.hub import Events
from tasker_host.worker.calls import Calls
from tasker_host.worker.loop import Worker
from tasker_host.worker.slots import Slots
from tasker_host.worker.transaction import StepTransaction

if TYPE_CHECKING:
    from collections.abc import Mapping

    from asyncpg import Connection

    from tasker_host.worker.slots import _Running

When = Literal["before", "after"]
What = Literal["claim", "handler", "checkpoint", "finish", "commit"]

_TOLD: dict[What, str] = {
    "claim": "the claim of {step} was committed",
    "handler": "{step} was called",
    "checkpoint": "the checkpoint of {step} was committed",
    "finish": "the result of {step} was committed",
    "commit": "the transaction of {step}, its writes and its result, was committed",
}


@dataclass(frozen=True, slots=True)
class Moment:
    """Before or after something that a worker does for a step; `number` counts how often it did this before, from 1.

    "commit" is the end of a handler's own transaction, which is that of its result. What a claim will find is not known
    before it: that moment's `number` counts the claims of the whole run that found something.
    """

    when: When
    what: What
    step: str
    number: int = 1
    interrupts: str = field(default="", compare=False)
    """The step whose attempt is lost with the worker; empty when it holds none."""

    def __str__(self) -> str:
        again = f" (time {self.number})" if self.number > 1 and (self.when, self.what) != ("before", "claim") else ""
        if self.what == "handler" and self.when == "after":
            return f"after {self.step} had run, before its result was kept{again}"
        return f"{self.when} {_TOLD[self.what].format(step=self.step)}{again}"


class Moments:
    """Passed one by one while `is_watching`; at the one that is `fatal`, the worker stands still and `died` is set."""

    def __init__(self) -> None:
        self.is_watching = False
        self.passed: list[Moment] = []
        self.died = asyncio.Event()
        self._fatal: Moment | None = None
        self._counts: Counter[tuple[When, What, str]] = Counter()
        self._claims = 0

    def watch(self, fatal: Moment | None = None) -> None:
        """Begins a run."""
        self.is_watching = True
        self.passed = []
        self._fatal = fatal
        self._counts.clear()
        self._claims = 0

    def stop(self) -> list[Moment]:
        """Ends it; the moments of it."""
        self.is_watching = False
        self._fatal = None
        return self.passed

    async def at(self, when: When, what: What, step: str, *, holds: str | None = None) -> None:
        """The worker is there, and holds `step`, or `holds`. Never returns from the fatal moment."""
        if not self.is_watching:
            return
        self._counts[when, what, step] += 1
        await self._pass(Moment(when, what, step, self._counts[when, what, step], step if holds is None else holds))

    async def before_claim(self) -> None:
        fatal = self._fatal
        if fatal is not None and (fatal.when, fatal.what, fatal.number) == ("before", "claim", self._claims + 1):
            await self._pass(fatal)

    async def after_claim(self, steps: Sequence[str]) -> None:
        if self.is_watching and steps:
            self._claims += 1
            self.passed.append(Moment("before", "claim", steps[0], self._claims))
            await self.at("after", "claim", steps[0])

    async def _pass(self, moment: Moment) -> None:
        self.passed.append(moment)
        if moment == self._fatal:
            # A dead worker dies once; whoever goes on passes the rest of its moments unharmed.
            self._fatal = None
            self.died.set()
            await asyncio.Event().wait()


class KitSlots(Slots):
    moments: Moments

    async def _call(self, running: _Running, context: StepContext) -> Any:
        name = running.step.name
        await self.moments.at("before", "handler", name)
        try:
            value = await super()._call(running, context)
        except Exception:
            await self.moments.at("after", "handler", name)
            raise
        await self.moments.at("after", "handler", name)
        return value

    async def _end_transaction(
        self, running: _Running, transaction: StepTransaction, outcome: Outcome
    ) -> Outcome | None:
        commits = outcome.kind == "succeeded" and transaction.is_open
        if commits:
            try:
                await self.moments.at("before", "commit", running.step.name)
            except asyncio.CancelledError:
                await transaction.roll_back()
                raise
        left = await super()._end_transaction(running, transaction, outcome)
        if commits and left is None:
            await self.moments.at("after", "commit", running.step.name, holds="")
        return left

    async def kill(self) -> None:
        """Ends what runs as if the process had gone; what it comes to now, nobody hears."""
        self._finished = lambda *_: None
        tasks = [running.task for running in self._running.values() if running.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._running.clear()


class KitCalls(Calls):
    moments: Moments
    lines: list[Connection]
    """Open connections that a worker before this one left behind: what runs in it is planned already."""

    async def take(self, outcomes: list[Outcome], want: int, *, look: bool) -> tuple[Taken | None, list[Outcome]]:
        if not self.moments.is_watching:
            return await super().take(outcomes, want, look=look)
        named = [self._names.get(outcome.step_uuid, "?") for outcome in outcomes]
        if outcomes:
            await self.moments.at("before", "finish", named[0])
        else:
            await self.moments.before_claim()
        taken, left = await super().take(outcomes, want, look=look)
        if taken is not None:
            self._names.update((step.step_uuid, step.name) for step in taken.steps)
            if outcomes:
                await self.moments.at("after", "finish", named[0], holds=taken.steps[0].name if taken.steps else "")
            else:
                await self.moments.after_claim([step.name for step in taken.steps])
        return taken, left

    async def checkpoint(self, saved: Sequence[tuple[Claimed, str]]) -> set[UUID] | None:
        if saved:
            await self.moments.at("before", "checkpoint", saved[0][0].name)
        ours = await super().checkpoint(saved)
        if saved and ours is not None:
            await self.moments.at("after", "checkpoint", saved[0][0].name)
        return ours

    async def _connected(self) -> Connection:
        if self._connection is None and self.lines:
            self._connection = self.lines.pop()
            self.connected = True
            self._on_connected()
        return await super()._connected()

    def close(self) -> None:
        if self._connection is not None and not self.are_busy and not self._connection.is_closed():
            self.lines.append(self._connection)
            self._connection = None
        super().close()

    @property
    def _names(self) -> dict[UUID, str]:
        names: dict[UUID, str] = self.__dict__.setdefault("_names_", {})
        return names


class KitEvents(Events):
    """Keeps what was published, whichever way it went, in the order in which it became true."""

    @property
    def published(self) -> list[DomainEvent]:
        kept: list[DomainEvent] = self.__dict__.setdefault("_published", [])
        return kept

    def accepted(self, publications: Iterable[Publication]) -> None:
        told = list(publications)
        for publication in told:
            self.published.extend(publication.events())
        super().accepted(told)


class KitWorker(Worker):
    """A worker that says when it is quiet: nothing runs, nothing is to be said, and the queues had nothing for it."""

    slots_class: ClassVar[type[Slots]] = KitSlots
    calls_class: ClassVar[type[Calls]] = KitCalls

    def attach(self, moments: Moments, lines: list[Connection], quiet: asyncio.Event) -> None:
        self.quiet = quiet
        quiet.clear()
        assert isinstance(self._slots, KitSlots)
        assert isinstance(self._calls, KitCalls)
        self._slots.moments = self._calls.moments = moments
        self._calls.lines = lines
        self._moments = moments

    def reserve(self, steps: Mapping[str, int]) -> Taker:
        # While moments are watched, every step comes by a claim of its own.
        return NOBODY if self._moments.is_watching else super().reserve(steps)

    async def kill(self) -> None:
        assert isinstance(self._slots, KitSlots)
        await self._slots.kill()

    def _rouse(self) -> None:
        # Whatever it is about to do, whoever waits for it to be quiet waits for that too.
        self.quiet.clear()
        super()._rouse()

    async def _wait(self) -> None:
        if self.is_idle and not self._outlook.bell and not self._capacity.promised:
            self.quiet.set()
        try:
            await super()._wait()
        finally:
            self.quiet.clear()
