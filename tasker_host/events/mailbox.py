"""The queue of one subscriber, and what gives it its events: a task for an async one, a thread for a sync one."""

from __future__ import annotations

import asyncio
import inspect
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import structlog

from tasker_host.domain.event import DomainEvent
from tasker_host.events.message import error_text
from tasker_host.hooks.records import Subscriber

log = structlog.get_logger("tasker.events")

TURN = 256
"""Events that an async subscriber which never waits is given before others have their turn on the loop."""

MOST_ABANDONED = 4
"""Threads of one subscriber that may hang at the same time; with as many, nothing is given to it until one returns."""

LOOK_SECONDS = 0.01
"""How often is looked whether a queue is empty, while a host stops."""


def is_async(function: Callable[..., Any]) -> bool:
    called = getattr(type(function), "__call__", None)  # noqa: B004 - an object that is called like a function
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(called)


class Mailbox(ABC):
    """At most `queue_size` events; beyond that the oldest are dropped. Filled and looked after on the event loop."""

    def __init__(self, subscriber: Subscriber, timeout_seconds: float) -> None:
        self.name = subscriber.name
        self.patterns = tuple(subscriber.events)
        self.own_only = subscriber.own_only
        self.failed = 0
        self.timed_out = 0
        self._receive = subscriber.receive
        self._size = subscriber.queue_size
        self._queue: deque[DomainEvent] = deque(maxlen=subscriber.queue_size)
        self._timeout_seconds = timeout_seconds
        self._put = 0
        self._taken = 0
        self._since: float | None = None
        """When the call that runs began."""
        self._last_error = ""
        self._last_error_at: datetime | None = None

    @abstractmethod
    def put(self, event: DomainEvent) -> None: ...

    @abstractmethod
    def look(self, now: float) -> None:
        """Ends the wait for a call that takes too long."""

    @abstractmethod
    async def close(self) -> int:
        """Gives out nothing more; how many events were still queued, or in a call that did not return."""

    @property
    def is_idle(self) -> bool:
        return not self._queue and self._since is None

    @property
    def dropped(self) -> int:
        # Not counted where it happens: taking and dropping may happen at the same instant, in two threads.
        return max(0, self._put - self._taken - len(self._queue))

    async def drained(self, until: float) -> None:
        """Returns when everything was given out, or at `until` (monotonic)."""
        while not self.is_idle and time.monotonic() < until:  # noqa: ASYNC110 - threads empty it, too
            await asyncio.sleep(LOOK_SECONDS)

    def stats(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "events": list(self.patterns),
            "queue_size": self._size,
            "queued": len(self._queue),
            "received": self._taken,
            "failed": self.failed,
            "timed_out": self.timed_out,
            "dropped": self.dropped,
            "last_error": self._last_error or None,
            "last_error_at": self._last_error_at,
        }

    def _note(self, error: str) -> None:
        self._last_error, self._last_error_at = error, datetime.now(UTC)
        # Once for the first and for every thousandth: one that always fails must not fill the log.
        if (self.failed + self.timed_out) % 1000 == 1:
            log.warning("subscriber failed", subscriber=self.name, error=error, failed=self.failed + self.timed_out)

    def _note_error(self, error: BaseException) -> None:
        self.failed += 1
        self._note(error_text(error))

    def _note_timeout(self) -> None:
        self.timed_out += 1
        self._note(f"took longer than {self._timeout_seconds:g} s (events.subscriber_timeout_seconds)")


class AsyncMailbox(Mailbox):
    """For `async def receive(event)`."""

    _task: asyncio.Task[None] | None = None
    _overrun = False

    def put(self, event: DomainEvent) -> None:
        self._put += 1
        self._queue.append(event)
        if self._task is None:
            # It ends when the queue is empty, so an idle subscriber costs nothing and needs no end.
            self._task = asyncio.create_task(self._give(), name=f"tasker-subscriber-{self.name}")

    def look(self, now: float) -> None:
        if self._task is None or self._since is None or self._overrun:
            return
        if now - self._since > self._timeout_seconds:
            self._overrun = True
            self._task.cancel()

    async def close(self) -> int:
        left = len(self._queue) + (self._since is not None)
        self._queue.clear()
        if self._task is not None:
            self._task.cancel()
            # One that takes no notice of being cancelled is left behind with the loop.
            await asyncio.wait([self._task], timeout=1)
        return left

    async def _give(self) -> None:
        queue, turn = self._queue, 0
        try:
            while queue:
                event = queue.popleft()
                self._taken += 1
                self._since = time.monotonic()
                await self._given(event)
                self._since = None
                turn += 1
                if turn % TURN == 0:
                    await asyncio.sleep(0)
        finally:
            self._since = None
            self._task = None

    async def _given(self, event: DomainEvent) -> None:
        try:
            await self._receive(event)
        except asyncio.CancelledError as error:
            if not self._overrun:
                if self._is_cancelled():
                    raise
                self._note_error(error)  # raised by the subscriber itself
        except BaseException as error:  # plugin code
            if not self._overrun:
                self._note_error(error)
        if self._overrun:
            self._overrun = False
            task = asyncio.current_task()
            assert task is not None
            task.uncancel()
            self._note_timeout()

    def _is_cancelled(self) -> bool:
        return self._task is not None and self._task.cancelling() > 0


class ThreadMailbox(Mailbox):
    """For `def receive(event)`: called in a thread of its own, which is started for the first event."""

    def __init__(self, subscriber: Subscriber, timeout_seconds: float) -> None:
        super().__init__(subscriber, timeout_seconds)
        self._bell = threading.Event()
        self._mutex = threading.Lock()
        self._generation = 0
        """Counts the threads: only the newest one takes events."""
        self._running = False
        self._abandoned = 0
        self._is_closed = False

    def put(self, event: DomainEvent) -> None:
        self._put += 1
        self._queue.append(event)
        if not self._running:
            self._begin()
        elif not self._bell.is_set():
            self._bell.set()

    def look(self, now: float) -> None:
        with self._mutex:
            if self._since is not None and now - self._since > self._timeout_seconds:
                # A thread cannot be stopped: it ends when its call does, and another one goes on with the rest.
                self._since = None
                self._generation += 1
                self._abandoned += 1
                self._running = False
                self._note_timeout()
        if self._queue and not self._running:
            self._begin()

    async def close(self) -> int:
        with self._mutex:
            left = len(self._queue) + (self._since is not None)
            self._is_closed = True
            self._queue.clear()
            self._generation += 1
        self._bell.set()
        return left

    def _begin(self) -> None:
        with self._mutex:
            if self._is_closed or self._running or self._abandoned >= MOST_ABANDONED:
                return
            self._running = True
            generation = self._generation
        name = f"tasker-subscriber-{self.name}"
        threading.Thread(target=self._give, args=(generation,), name=name, daemon=True).start()

    def _give(self, generation: int) -> None:
        queue, receive, bell, mutex = self._queue, self._receive, self._bell, self._mutex
        while True:
            with mutex:
                if self._generation != generation:
                    break
                self._since = None
                event = queue.popleft() if queue else None
                if event is not None:
                    self._taken += 1
                    self._since = time.monotonic()
            if event is None:
                bell.clear()
                if not queue and self._generation == generation:
                    bell.wait()
                continue
            try:
                answer = receive(event)
                if answer is not None and inspect.isawaitable(answer):
                    _refuse(answer)
            except BaseException as error:  # plugin code
                with mutex:
                    if self._generation == generation:
                        self._note_error(error)
        with mutex:
            self._abandoned -= 1


def _refuse(answer: Any) -> None:
    """There is no loop in the subscriber's thread. Raises TypeError."""
    if inspect.iscoroutine(answer):
        answer.close()
    raise TypeError("receive returned something to await and is no async function: write `async def receive(event)`")
