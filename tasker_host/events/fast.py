"""The fast path: events to the subscribers of this process, after the commit of what they tell of.

Each subscriber has a queue of its own, and is given one event after the other. Whoever publishes never waits: when a
subscriber falls behind, its oldest events are dropped and counted.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from typing import Any

import structlog

from tasker_host.domain.event import DomainEvent
from tasker_host.domain.patterns import matches
from tasker_host.events.mailbox import AsyncMailbox, Mailbox, ThreadMailbox, is_async
from tasker_host.hooks.records import Subscriber

log = structlog.get_logger("tasker.events")

MOST_NAMES = 10_000
"""Names of events of which is kept who hears them."""


class FastBus:
    """Used on the event loop only; opened by `start`, ended by `close`."""

    def __init__(self, subscribers: Iterable[Subscriber], *, timeout_seconds: float) -> None:
        self.published = 0
        """Events that somebody heard, or might have: those of a name for which there is a subscriber."""
        self._timeout_seconds = timeout_seconds
        self._mailboxes = [self._made(subscriber) for subscriber in subscribers]
        self._heard_by: dict[str, tuple[Mailbox, ...]] = {}
        self._watch: asyncio.Task[None] | None = None
        self._closed = False

    def start(self) -> None:
        if self._mailboxes and self._watch is None:
            self._watch = asyncio.create_task(self._watch_overruns(), name="tasker-fast-events")

    def mailbox(self, subscriber: Subscriber) -> Mailbox:
        """A queue that is filled by whoever asked for it, and otherwise is like that of any subscriber."""
        made = self._made(subscriber)
        self._mailboxes.append(made)
        return made

    def hears(self, name: str) -> bool:
        """Whether anybody would be given an event of that name."""
        return bool(self._mailboxes) and bool(self._hearers(name))

    def publish(self, event: DomainEvent) -> None:
        """Into the queue of everybody who hears it."""
        hearers = self._heard_by.get(event.event_name)
        if hearers is None:
            hearers = self._hearers(event.event_name)
        if hearers and not self._closed:
            self.published += 1
            for mailbox in hearers:
                mailbox.put(event)

    def hear(self, event: DomainEvent) -> None:
        """One that another process published, into the queue of everybody who hears those."""
        hearers = [mailbox for mailbox in self._hearers(event.event_name) if not mailbox.own_only]
        if hearers and not self._closed:
            self.published += 1
            for mailbox in hearers:
                mailbox.put(event)

    async def close(self, *, drain_seconds: float) -> dict[str, int]:
        """Gives out what is queued for so long, then ends; how many events of whom were dropped in the end."""
        self._closed = True
        until = time.monotonic() + drain_seconds
        await asyncio.gather(*(mailbox.drained(until) for mailbox in self._mailboxes))
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)
        left = {mailbox.name: dropped for mailbox in self._mailboxes if (dropped := await mailbox.close())}
        for name, dropped in left.items():
            log.warning("events dropped at the stop", subscriber=name, dropped=dropped, drain_seconds=drain_seconds)
        return left

    def stats(self) -> list[dict[str, Any]]:
        """How each subscriber does."""
        return [mailbox.stats() for mailbox in self._mailboxes]

    def _made(self, subscriber: Subscriber) -> Mailbox:
        kind = AsyncMailbox if is_async(subscriber.receive) else ThreadMailbox
        return kind(subscriber, self._timeout_seconds)

    def _hearers(self, name: str) -> tuple[Mailbox, ...]:
        known = self._heard_by.get(name)
        if known is None:
            known = tuple(mailbox for mailbox in self._mailboxes if any(matches(p, name) for p in mailbox.patterns))
            if len(self._heard_by) < MOST_NAMES:
                self._heard_by[name] = known
        return known

    async def _watch_overruns(self) -> None:
        # No timer for each event: one look at all of them now and then is enough to keep a limit of seconds.
        pause = min(0.5, self._timeout_seconds / 4)
        while True:
            await asyncio.sleep(pause)
            now = time.monotonic()
            for mailbox in self._mailboxes:
                mailbox.look(now)
