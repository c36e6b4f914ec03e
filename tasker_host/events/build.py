"""From the outcome of a step to the events that its template declares; what goes wrong with one costs that one only.

Messages are put together from JSON texts, most of which are there already: what is done here is paid for every step.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import structlog

from tasker_host.db.kernel import Claimed, Outcome
from tasker_host.domain.context import StepContext
from tasker_host.domain.event import DomainEvent
from tasker_host.domain.json import dumps, json_object, loads
from tasker_host.domain.publishing import Result
from tasker_host.domain.result import Failed, StepResult, Succeeded
from tasker_host.events.message import (
    HEX2,
    Clock,
    PublisherError,
    check_size,
    check_storable,
    error_text,
    more_members,
)
from tasker_host.hooks.publisher import BoundPublisher, EventPublisher, default_payload
from tasker_host.registry.plan import EventPlan, StepPlan

log = structlog.get_logger("tasker.events")

Fate = Literal["published", "declined", "failed"]

MOST_PROBLEMS = 5
"""Of a payload that does not fit its schema, told in one error."""

_CLOCK = Clock()


@dataclass(frozen=True, slots=True)
class EventOptions:
    """The defaults of every field live in `config/base/events.toml`."""

    message_max_bytes: int = 262_144
    include_step: bool = False
    publisher_timeout_seconds: float = 5.0


@dataclass(slots=True)
class Built:
    """What became of one declared event.

    `event` is there when somebody in this process is to be given it, `error` when it failed.
    """

    plan: EventPlan
    fate: Fate
    event: DomainEvent | None = None
    error: str = ""


class Publications:
    """Makes the publications of the outcomes of one worker, and builds those together for which nobody is to be asked.

    That is done when the handlers of a batch have had their turn, while the database still works on the call before: at
    the report the call would wait for it.
    """

    __slots__ = ("_waiting", "context_of", "options")

    def __init__(self, context_of: Callable[[Claimed, StepPlan], StepContext], options: EventOptions) -> None:
        self.context_of = context_of
        self.options = options
        self._waiting: list[Publication] = []

    def soon(self, step: Claimed, plan: StepPlan, outcome: Outcome) -> Publication:
        """For a step none of whose publishers has to be asked: built soon, or when it is first looked at."""
        publication = Publication(self, step, plan, outcome)
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self.build)
        self._waiting.append(publication)
        return publication

    async def now(self, step: Claimed, plan: StepPlan, outcome: Outcome) -> Publication:
        """For any step: its publishers are asked if they have to be."""
        publication = Publication(self, step, plan, outcome)
        await publication.build()
        return publication

    def build(self) -> None:
        """Builds all that wait for it. Never raises."""
        waiting, self._waiting = self._waiting, []
        _CLOCK.look()
        for publication in waiting:
            publication.build_alone()


class Publication:
    """The events of one outcome. Nothing of them is true before the outcome was accepted."""

    __slots__ = ("_built", "_context", "_made_by", "_messages", "_whole", "outcome", "plain", "plan", "step")

    def __init__(self, made_by: Publications, step: Claimed, plan: StepPlan, outcome: Outcome) -> None:
        self.step = step
        self.plan = plan
        self.outcome = outcome
        self.plain: tuple[EventPlan, ...] = ()
        """Those that became messages and nothing else; if there are any, there are no others."""
        self._messages: list[str] | None = None
        self._built: list[Built]
        self._made_by = made_by

    @property
    def messages(self) -> list[str]:
        """The durable ones, as JSON texts."""
        if self._messages is None:
            self._made_by.build()
        assert self._messages is not None
        return self._messages

    @property
    def built(self) -> list[Built]:
        """What became of every event that fires."""
        return [Built(event, "published") for event in self.plain] if self.plain else self._built

    def events(self) -> list[DomainEvent]:
        """All that are published, whichever way they go, in their order."""
        messages = iter(self.messages)
        found = []
        for built in self.built:
            message = next(messages) if built.fate == "published" and built.plan.is_durable else None
            if built.event is not None:
                found.append(built.event)
            elif message is not None:
                found.append(DomainEvent.from_message(loads(message)))
        return found

    async def rebuild(self, outcome: Outcome) -> None:
        """Becomes that of `outcome`, which is reported instead."""
        self.outcome = outcome
        self.plain = ()
        await self.build()

    def build_alone(self) -> None:
        """Builds the events of a step whose publishers have not to be asked. Never raises."""
        if self.plan.plain_events and self._build_plain():
            return
        happened = self._begin()
        for event in self.plan.events:
            if happened in event.on:
                self._default(event, happened)

    def _build_plain(self) -> bool:
        """Whether all became messages and nothing else; if not, it is not said here which of them is the reason."""
        outcome, plain = self.outcome, self.plan.plain_events
        if outcome.kind != "succeeded" or self._made_by.options.include_step:
            return False
        payload = outcome.value or "null"
        try:
            about = self._about("success")
            messages = []
            for event in plain:
                if event.check is not None:
                    _check(event, payload)
                messages.append(self._message(event, payload, about))
        except Exception:
            return False
        self._messages = messages
        self.plain = plain
        return True

    async def build(self) -> None:
        """Builds the events of a step whose publishers may have to be asked. Never raises."""
        happened = self._begin()
        for event in self.plan.events:
            if happened not in event.on:
                continue
            if event.publisher is None:
                self._default(event, happened)
            else:
                await self._asked(event, event.publisher, happened)

    def _begin(self) -> Result:
        self._messages, self._built = [], []
        self._context: StepContext | None = None
        self._whole: str | None = None
        return result_of(self.outcome)

    def _default(self, event: EventPlan, happened: Result) -> None:
        """The event as the host's own publisher says it."""
        outcome = self.outcome
        try:
            if outcome.kind == "succeeded":
                payload = outcome.value or "null"
            else:
                payload = dumps(default_payload(self._result(), self.step.attempt))
            self._built.append(self._published(event, payload, happened))
        except Exception as error:
            self._built.append(Built(event, "failed", None, error_text(error)))

    async def _asked(self, event: EventPlan, publisher: BoundPublisher, happened: Result) -> None:
        """The event as `publisher` says it."""
        payload: Any = None
        known = len(self.messages)
        try:
            payload, more = await self._said(event, publisher)
            built = Built(event, "declined")
            if payload is not None:
                built = self._published(event, dumps(payload), happened, more_members(more))
                if publisher.hooks is not None and not await self._confirmed(built, publisher.hooks, payload):
                    built = Built(event, "declined")
        except BaseException as error:  # plugin code: whatever it raises costs this event and nothing else
            if publisher.hooks is not None:
                await self._tell_of(error, event, publisher.hooks, payload)
            built = Built(event, "failed", None, error_text(error))
        if built.fate != "published":
            del self.messages[known:]
        self._built.append(built)

    def _published(self, event: EventPlan, payload: str, happened: Result, more: str = "") -> Built:
        """Checks the payload and makes a message of it; `more` are members of its metadata. Raises PublisherError."""
        _check(event, payload)
        _CLOCK.look()
        asked = event.include_step
        whole = (
            f'"step":{self._whole_step()},' if (self._made_by.options.include_step if asked is None else asked) else ""
        )
        message = self._message(event, payload, self._about(happened), more, whole)
        if event.is_durable:
            self.messages.append(message)
        if event.is_fast or (event.publisher is not None and event.publisher.hooks is not None):
            return Built(event, "published", DomainEvent.from_message(loads(message)))
        return Built(event, "published")

    def _about(self, happened: Result) -> tuple[str, str]:
        """The uuid of the step, and what the metadata of each of its events says of it, as members of JSON."""
        step = self.step
        step_uuid, correlation, attempt = str(step.step_uuid), step.correlation_id, step.attempt
        # The trace context of W3C: the correlation is the trace, each attempt at a step a span of its own in it.
        span = f"{HEX2[attempt & 0xFF]}{step_uuid[21:23]}{step_uuid[24:]}"
        about = (
            f'"step_uuid":"{step_uuid}","task_uuid":"{step.task_uuid!s}",'
            f'"traceparent":"00-{correlation.hex}-{span}-01","correlation_id":"{correlation!s}"'
        )
        # The ordinary is not said: a message is paid for by its length, in the queue and in the log.
        if attempt != 1:
            about += f',"attempt":{attempt}'
        if happened != "success":
            about += f',"outcome":"{happened}"'
        if step.parent_correlation_id is not None:
            about += f',"parent_correlation_id":"{step.parent_correlation_id}"'
        return step_uuid, about

    def _message(self, event: EventPlan, payload: str, about: tuple[str, str], more: str = "", whole: str = "") -> str:
        """The event as JSON text; `more` are members of its metadata. Raises PublisherError for what cannot be sent."""
        step_uuid, told = about
        step = self.step
        # Workers of a batch have names of their own.
        name = event.step_name if step.name == step.template_step else dumps(step.name)
        # Short names first, those of one length by the alphabet: PostgreSQL keeps them in this order, and so reads a
        # message in two thirds of the time.
        message = (
            f'{{{whole}"payload":{payload},"event_id":"{_CLOCK.event_id(step_uuid)}","metadata":{{'
            f'"fired_at":"{_CLOCK.text}",{event.origin}:{name},{told}{more}}},{event.named}}}'
        )
        check_size(message, self._made_by.options.message_max_bytes)
        if event.is_durable:
            check_storable(whole + payload + more)
        return message

    # Publishers -------------------------------------------------------------------------------------------------------

    async def _said(self, event: EventPlan, publisher: BoundPublisher) -> tuple[Any, Mapping[str, Any]]:
        """Payload (None: declined) and additional metadata, as the publisher says."""
        if self._context is None:
            # Not the handler's: that one may have been changed by it.
            self._context = self._made_by.context_of(self.step, self.plan)
        context, result, declaration = self._context, self._result(), event.declaration
        if publisher.build is not None:
            return await self._called(publisher.build, context, result, declaration), {}
        hooks = publisher.hooks
        assert hooks is not None
        if not await self._called(hooks.should_publish, context, result, declaration):
            return None, {}
        payload = await self._called(hooks.transform_payload, context, result, declaration)
        if payload is None:
            return None, {}
        more = await self._called(hooks.additional_metadata, context, result, declaration)
        if not isinstance(more or {}, Mapping):
            raise PublisherError(f"additional_metadata returned {more!r:.80}; return a mapping")
        return payload, more or {}

    async def _confirmed(self, built: Built, hooks: EventPublisher, payload: Any) -> bool:
        event = built.event
        assert event is not None
        # A copy: what the hook did to the event's own, only the fast path would tell.
        answer = await self._called(hooks.before_publish, event.event_name, payload, dict(event.metadata))
        return answer is None or bool(answer)

    async def _called(self, function: Callable[..., Any], *arguments: Any) -> Any:
        answer = function(*arguments)
        if not inspect.isawaitable(answer):
            return answer
        seconds = self._made_by.options.publisher_timeout_seconds
        try:
            async with asyncio.timeout(seconds) as limit:
                return await answer
        except TimeoutError:
            if not limit.expired():
                raise
            raise PublisherError(
                f"the publisher took longer than {seconds:g} s (events.publisher_timeout_seconds)"
            ) from None

    async def _tell_of(self, error: BaseException, event: EventPlan, hooks: EventPublisher, payload: Any) -> None:
        told = error if isinstance(error, Exception) else RuntimeError(error_text(error))
        try:
            await self._called(hooks.on_publish_error, event.declaration.name, told, payload)
        except BaseException as second:  # plugin code again
            text = error_text(second)
            log.warning("publisher failed to hear of its error", publisher=event.publisher_name, error=text)

    def _result(self) -> StepResult:
        """What the step came to, as it is stored. For each publisher a fresh one."""
        outcome = self.outcome
        value: Any = loads(outcome.value or "null")
        metadata = loads(outcome.metadata) if outcome.metadata is not None else {}
        if outcome.kind == "succeeded":
            return Succeeded(value, metadata)
        after = None if outcome.retry_after is None else outcome.retry_after.total_seconds()
        code = value.get("error_code")
        return Failed(value["message"], value["error_type"], value["retryable"], after, code, metadata)

    def _whole_step(self) -> str:
        """The context of the step and its result, as JSON text; from the texts that the database gave."""
        if self._whole is None:
            step, outcome, plan = self.step, self.outcome, self.plan
            succeeded = outcome.kind == "succeeded"
            result = [
                ("success", dumps(succeeded)),
                ("value" if succeeded else "error", outcome.value or "null"),
                ("took_ms", dumps(outcome.took_ms)),
                ("metadata", outcome.metadata or "{}"),
            ]
            self._whole = json_object(
                [
                    ("template", dumps(plan.template.label)),
                    ("handler", dumps(plan.handler.name)),
                    ("max_attempts", dumps(step.max_attempts)),
                    ("input", step.context),
                    ("dependencies", step.values or "{}"),
                    ("step_inputs", step.inputs or "{}"),
                    ("checkpoint", step.checkpoint or "null"),
                    ("result", json_object(result)),
                ]
            )
        return self._whole


def _check(event: EventPlan, payload: str) -> None:
    """Raises PublisherError for a payload that does not fit the event's schema."""
    if event.check is not None and (problems := event.check(loads(payload))):
        told = "; ".join(map(str, problems[:MOST_PROBLEMS]))
        raise PublisherError(f"the payload does not fit the schema of '{event.declaration.name}': {told}")


def result_of(outcome: Outcome) -> Result:
    """A failure that will not be tried again is permanent, also when it is because no attempt is left."""
    if outcome.kind == "succeeded":
        return "success"
    return "permanent_failure" if outcome.retry_after is None else "retryable_failure"
