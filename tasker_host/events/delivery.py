"""One delivery of an event by a relay, from the call of the plugin's function to what is said of it."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import inspect
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import structlog

from tasker_host.db.relays import Kind, Taken, Verdict
from tasker_host.domain.backoff import BackoffPolicy, delay_seconds
from tasker_host.domain.event import DomainEvent
from tasker_host.domain.json import loads
from tasker_host.domain.text import said, storable
from tasker_host.errors import HandlerError, JsonError, PermanentError, TargetGone
from tasker_host.handlers.classify import asked_seconds
from tasker_host.hooks.relay import Relay

log = structlog.get_logger("tasker.relay")

MOST_ERROR_CHARACTERS = 2_000
"""That are kept of an error."""


@dataclass(frozen=True, slots=True)
class RelayOptions:
    """How one relay delivers; see `events.relays` in the configuration."""

    concurrency: int = 16
    batch_size: int = 100
    timeout_seconds: float = 30
    lease: timedelta = timedelta(seconds=30)
    max_attempts: int = 20
    backoff: BackoffPolicy = BackoffPolicy(base_ms=2_000, max_ms=3_600_000, jitter=0.2)  # noqa: RUF009 - frozen
    breaker_failures: int = 5
    breaker_open_seconds: float = 30
    breaker_successes: int = 2
    poll_interval_seconds: float = 5
    shutdown_grace_seconds: float = 10


@dataclass(frozen=True, slots=True)
class Delivered:
    """What became of a delivery; `target_ok` is false when the target did not answer, or not as it should."""

    verdict: Verdict
    target_ok: bool


class Deliverer:
    """Calls the plugin's function; one that is written without async in a thread."""

    def __init__(self, relay: Relay, options: RelayOptions) -> None:
        self._relay = relay
        self._options = options
        called = getattr(type(relay.deliver), "__call__", None)  # noqa: B004 - an object that is called like a function
        self._is_async = inspect.iscoroutinefunction(relay.deliver) or inspect.iscoroutinefunction(called)

    def opened(self, taken: Taken) -> DomainEvent | Verdict:
        """The event, or what is said of one that cannot be delivered."""
        try:
            event = DomainEvent.from_message(loads(taken.event))
        except (ValueError, JsonError, AttributeError, TypeError) as error:
            return self._failed(taken, "dead", f"it is no event: {error}", target_ok=True).verdict
        if taken.attempt > self._options.max_attempts:
            lost = f"its host was lost in delivery {taken.attempt - 1} of {self._options.max_attempts}"
            return self._failed(taken, "dead", lost, target_ok=True, event=event).verdict
        return event

    async def deliver(self, taken: Taken, event: DomainEvent) -> Delivered:
        """Delivers it, or says why that failed; raises nothing but the CancelledError of whoever cancels it."""
        said = await self._failure(taken, event)
        if said is None:
            name = event.event_name
            log.debug("event delivered", relay=self._relay.name, event_id=str(event.event_id), event_name=name)
            said = Delivered(Verdict(taken.msg_id, taken.attempt, "delivered"), target_ok=True)
        return said

    async def _failure(self, taken: Taken, event: DomainEvent) -> Delivered | None:
        retry_after = None
        try:
            async with asyncio.timeout(self._options.timeout_seconds) as limit:
                await self._call(event)
            return None
        except PermanentError as error:
            kind: Kind = "gone" if isinstance(error, TargetGone) else "dead"
            return self._failed(taken, kind, _told(error), target_ok=True, event=event)
        except TimeoutError as error:
            told = f"no answer within {self._options.timeout_seconds:g} s" if limit.expired() else _told(error)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            told = "the delivery was cancelled from within"
        except HandlerError as error:
            told, retry_after = _told(error), asked_seconds(error.retry_after)
        except BaseException as error:  # plugin code: whatever it raises is a delivery that failed
            told = _told(error)
        return self._retried(taken, event, told, retry_after)

    async def _call(self, event: DomainEvent) -> None:
        if self._is_async:
            await self._relay.deliver(event)
            return
        called = _in_thread(self._relay.deliver, event)
        try:
            returned = await asyncio.shield(called)
        except asyncio.CancelledError:
            # A thread cannot be stopped. Until it ends the event stays ours, so that nobody delivers it at the same
            # time; if it ends well after all, the event is delivered.
            log.warning("delivery takes too long and cannot be stopped", relay=self._relay.name,
                        event_id=str(event.event_id))  # fmt: skip
            await asyncio.wait([called])
            returned = called.result()
        if inspect.isawaitable(returned):
            await returned

    # What is said -----------------------------------------------------------------------------------------------------

    def _retried(self, taken: Taken, event: DomainEvent, error: str, retry_after: float | None) -> Delivered:
        answered = retry_after is not None and retry_after > 0
        if taken.attempt >= self._options.max_attempts:
            said = f"{error} (attempt {taken.attempt} of {self._options.max_attempts})"
            return self._failed(taken, "dead", said, target_ok=answered, event=event)
        wait = delay_seconds(
            taken.attempt,
            self._options.backoff,
            jitter=random.random(),  # noqa: S311 - no secret
            requested=retry_after if answered else None,
        )
        kind: Kind = "held" if answered else "retried"
        return self._failed(taken, kind, error, target_ok=answered, event=event, after=wait)

    def _failed(
        self,
        taken: Taken,
        kind: Kind,
        error: str,
        *,
        target_ok: bool,
        event: DomainEvent | None = None,
        after: float | None = None,
    ) -> Delivered:
        told = {
            "relay": self._relay.name,
            "event_id": None if event is None else str(event.event_id),
            "event_name": None if event is None else event.event_name,
            "attempt": taken.attempt,
            "error": error,
        }
        if after is None:
            log.error("event not delivered, given up", **told)
        else:
            log.warning("event not delivered, it is tried again", **told, retry_in_seconds=round(after, 3))
        wait = None if after is None else timedelta(seconds=after)
        return Delivered(Verdict(taken.msg_id, taken.attempt, kind, wait, error[:MOST_ERROR_CHARACTERS]), target_ok)


def _in_thread(deliver: Callable[[DomainEvent], Any], event: DomainEvent) -> asyncio.Future[Any]:
    """In a thread of its own: one that hangs takes no other's place, and does not keep the process from ending."""
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[Any] = loop.create_future()

    def tell(returned: Any, error: BaseException | None) -> None:
        if error is None:
            ended.set_result(returned)
        else:
            ended.set_exception(error)

    def call() -> None:
        returned: Any = None
        error: BaseException | None = None
        try:
            returned = deliver(event)
        except StopIteration as stopped:  # a future cannot carry it
            error = RuntimeError(f"StopIteration: {stopped}")
        except BaseException as raised:
            error = raised
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(tell, returned, error)

    threading.Thread(target=contextvars.copy_context().run, args=(call,), name="tasker-relay", daemon=True).start()
    return ended


def _told(error: BaseException) -> str:
    """What is kept of it in the database, which cannot hold everything that a text of Python may have."""
    text = storable(said(error))
    if isinstance(error, HandlerError):
        return text or error.code
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
