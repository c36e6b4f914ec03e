"""From the outcome of a step to the events that its template declares; what goes wrong with one costs that one only."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

import structlog

from tasker_host.db.kernel import Claimed, Outcome
from tasker_host.domain.context import StepContext
from tasker_host.domain.event import DomainEvent, traceparent
from tasker_host.domain.ids import uuid7_text
from tasker_host.domain.json import dumps, loads
from tasker_host.domain.publishing import Result
from tasker_host.domain.result import Failed, StepResult, Succeeded
from tasker_host.hooks.publisher import BoundPublisher, EventPublisher, default_payload
from tasker_host.registry.plan import EventPlan, StepPlan

log = structlog.get_logger("tasker.events")

Fate = Literal["published", "declined", "failed"]

METADATA = frozenset(
    {
        "task_uuid", "step_uuid", "step_name", "namespace", "template_name", "template_version", "correlation_id",
        "parent_correlation_id", "traceparent", "attempt", "max_attempts", "outcome", "fired_at", "fired_by",
    }
)  # fmt: skip
"""What the host itself says in the metadata of an event; a publisher cannot change it."""

MOST_PROBLEMS = 5
"""Of a payload that does not fit its schema, told in one error."""


@dataclass(frozen=True, slots=True)
class EventOptions:
    """The defaults of every field live in `config/base/events.toml`."""

    message_max_bytes: int = 262_144
    include_step: bool = False
    publisher_timeout_seconds: float = 5.0


@dataclass(slots=True)
class Built:
    """What became of one declared event.

    `message` is there when it is published, `event` as well when somebody in this process is to be given it; `error`
    when it failed.
    """

    plan: EventPlan
    fate: Fate
    message: str | None = None
    event: DomainEvent | None = None
    error: str = ""


@dataclass(slots=True)
class Publication:
    """The events of one outcome. Nothing of them is true before the outcome was accepted."""

    step: Claimed
    plan: StepPlan
    outcome: Outcome
    built: list[Built] = field(default_factory=list)


class PublisherError(Exception):
    """The event cannot be published; the text says why."""


class Builder:
    def __init__(self, options: EventOptions) -> None:
        self._options = options

    async def build(
        self, step: Claimed, plan: StepPlan, outcome: Outcome, new_context: Callable[[], StepContext]
    ) -> Publication:
        """The events of `outcome`, which carries the durable ones from now on. Never raises."""
        publication = Publication(step, plan, outcome)
        happened = result_of(outcome)
        source: _Source | None = None
        durable = []
        for event in plan.events:
            if happened not in event.on:
                continue
            if source is None:
                source = _Source(publication, happened, new_context, self._options)
            built = source.default(event) if event.publisher is None else await source.asked(event, event.publisher)
            publication.built.append(built)
            if built.message is not None and event.is_durable:
                durable.append(built.message)
        if durable:
            publication.outcome = Outcome(*outcome[:-1], durable)
        return publication


def result_of(outcome: Outcome) -> Result:
    """A failure that will not be tried again is permanent, also when it is because no attempt is left."""
    if outcome.kind == "succeeded":
        return "success"
    return "permanent_failure" if outcome.retry_after is None else "retryable_failure"


class _Source:
    """What the events of one outcome have in common; what they hardly ever need is made when it is asked for.

    Messages are put together from JSON texts, most of which are there already: this is paid for every event.
    """

    def __init__(
        self, publication: Publication, happened: Result, new_context: Callable[[], StepContext], options: EventOptions
    ) -> None:
        step = publication.step
        self._step = step
        self._plan = publication.plan
        self._outcome = publication.outcome
        self._new_context = new_context
        self._options = options
        self._context: StepContext | None = None
        self._whole: str | None = None
        self._now = time.time_ns()
        step_uuid, correlation = str(step.step_uuid), str(step.correlation_id)
        parent = "null" if step.parent_correlation_id is None else f'"{step.parent_correlation_id}"'
        self._ids = f'"task_uuid":"{step.task_uuid}","step_uuid":"{step_uuid}",'
        self._attempt = (
            f',"correlation_id":"{correlation}","parent_correlation_id":{parent},'
            f'"traceparent":"{traceparent(correlation, step_uuid, step.attempt)}",'
            f'"attempt":{step.attempt},"max_attempts":{step.max_attempts},"outcome":"{happened}",'
            f'"fired_at":"{_CLOCK.text(self._now)}","fired_by":'
        )

    def default(self, event: EventPlan) -> Built:
        """The event as the host's own publisher says it."""
        try:
            return self._finished(event, self._default_text(), "")
        except Exception as error:
            return Built(event, "failed", error=str(error) if isinstance(error, PublisherError) else error_text(error))

    async def asked(self, event: EventPlan, publisher: BoundPublisher) -> Built:
        """The event as `publisher` says it."""
        payload: Any = None
        try:
            payload, more = await self._published(event, publisher)
            if payload is None:
                return Built(event, "declined")
            built = self._finished(event, dumps(payload), _members(more))
            if publisher.hooks is not None:
                assert built.event is not None
                before = publisher.hooks.before_publish
                if not await self._called(before, event.declaration.name, payload, built.event.metadata):
                    return Built(event, "declined")
            return built
        except BaseException as error:  # plugin code: whatever it raises costs this event and nothing else
            if publisher.hooks is not None:
                await self._tell_of(error, event, publisher.hooks, payload)
            return Built(event, "failed", error=str(error) if isinstance(error, PublisherError) else error_text(error))

    async def _published(self, event: EventPlan, publisher: BoundPublisher) -> tuple[Any, Mapping[str, Any]]:
        """Payload (None: declined) and additional metadata, as the publisher says."""
        context, result, declaration = self._own_context(), self._result(), event.declaration
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

    async def _called(self, function: Callable[..., Any], *arguments: Any) -> Any:
        answer = function(*arguments)
        if not inspect.isawaitable(answer):
            return answer
        seconds = self._options.publisher_timeout_seconds
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
            log.warning(
                "publisher failed to hear of its error", publisher=event.publisher_name, error=error_text(second)
            )

    def _finished(self, event: EventPlan, payload: str, more: str) -> Built:
        """Checks the payload and makes a message of it; `more` are members of its metadata. Raises PublisherError."""
        if event.check is not None and (problems := event.check(loads(payload))):
            told = "; ".join(map(str, problems[:MOST_PROBLEMS]))
            raise PublisherError(f"the payload does not fit the schema of '{event.declaration.name}': {told}")
        step = f',"step":{self._whole_step()}' if self._includes_step(event) else ""
        message = (
            f'{{"event_id":"{uuid7_text(self._now)}",{event.head},"payload":{payload},'
            f'"metadata":{{{more}{self._ids}{self._origin(event)}{self._attempt}{event.fired_by}}}{step}}}'
        )
        self._check_size(message)
        if event.is_durable:
            check_storable(message)
        is_given = event.is_fast or (event.publisher is not None and event.publisher.hooks is not None)
        return Built(event, "published", message, DomainEvent.from_message(loads(message)) if is_given else None)

    def _origin(self, event: EventPlan) -> str:
        step = self._step
        if step.name == step.template_step:
            return event.origin
        own = event.origin.partition(',"namespace":')  # of a batch: its workers have names of their own
        return f'"step_name":{dumps(step.name)}{own[1]}{own[2]}'

    def _check_size(self, message: str) -> None:
        most = self._options.message_max_bytes
        # At most four bytes a character: small messages need not be encoded to be measured.
        if len(message) * 4 > most and (size := len(message.encode())) > most:
            raise PublisherError(
                f"the message would have {size} bytes; the limit is {most} (events.message_max_bytes): publish a"
                " reference instead"
            )

    def _includes_step(self, event: EventPlan) -> bool:
        asked = event.declaration.include_step
        return self._options.include_step if asked is None else asked

    # What publishers are given ----------------------------------------------------------------------------------------

    def _own_context(self) -> StepContext:
        # Not the handler's: that one may have been changed by it.
        if self._context is None:
            self._context = self._new_context()
        return self._context

    def _result(self) -> StepResult:
        """What the step came to, as it is stored. For each publisher a fresh one."""
        outcome = self._outcome
        value: Any = loads(outcome.value or "null")
        metadata = loads(outcome.metadata) if outcome.metadata is not None else {}
        if outcome.kind == "succeeded":
            return Succeeded(value, metadata)
        after = outcome.retry_after
        return Failed(
            value["message"],
            value["error_type"],
            value["retryable"],
            None if after is None else after.total_seconds(),
            value.get("error_code"),
            metadata,
        )

    def _default_text(self) -> str:
        if self._outcome.kind == "succeeded":
            return self._outcome.value or "null"
        return dumps(default_payload(self._result(), self._step.attempt))

    def _whole_step(self) -> str:
        """The context of the step and its result, as JSON text; from the texts that the database gave."""
        if self._whole is None:
            step, outcome, plan = self._step, self._outcome, self._plan
            succeeded = outcome.kind == "succeeded"
            result = [
                ("success", dumps(succeeded)),
                ("value" if succeeded else "error", outcome.value or "null"),
                ("took_ms", dumps(outcome.took_ms)),
                ("metadata", outcome.metadata or "{}"),
            ]
            self._whole = _object(
                [
                    ("template", dumps(plan.template.label)),
                    ("handler", dumps(plan.handler.name)),
                    ("input", step.context),
                    ("dependencies", step.values or "{}"),
                    ("step_inputs", step.inputs or "{}"),
                    ("checkpoint", step.checkpoint or "null"),
                    ("result", _object(result)),
                ]
            )
        return self._whole


def _members(more: Mapping[str, Any]) -> str:
    """Additional metadata as members of a JSON object; the host's own names are left out."""
    own = {key: value for key, value in more.items() if key not in METADATA}
    return f"{dumps(own)[1:-1]}," if own else ""


class _Clock:
    """RFC 3339 texts; of many in the same second only the fraction is made anew."""

    def __init__(self) -> None:
        self._second = -1
        self._text = ""

    def text(self, nanoseconds: int) -> str:
        second, rest = divmod(nanoseconds, 1_000_000_000)
        if second != self._second:
            self._second, self._text = second, datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")
        return f"{self._text}.{rest // 1000:06d}+00:00"


_CLOCK = _Clock()


def _object(members: Iterable[tuple[str, str]]) -> str:
    """A JSON object, of names and the JSON texts of their values."""
    return "{" + ",".join(f'"{name}":{text}' for name, text in members) + "}"


def check_storable(message: str) -> None:
    """Raises PublisherError for what PostgreSQL's jsonb, of which queue messages are made, cannot hold."""
    if "\\u0000" in message and "\x00" in _texts(loads(message)):
        raise PublisherError("the payload has the character U+0000, which a message of a queue cannot hold")


def _texts(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        return "".join(f"{key}{_texts(item)}" for key, item in value.items())
    return "".join(map(_texts, value)) if isinstance(value, list) else ""


def error_text(error: BaseException) -> str:
    """`ValueError: no gateway`."""
    kind = type(error).__qualname__
    try:
        text = str(error)
    except Exception:  # a plugin's own __str__
        text = "(which cannot be shown)"
    # It is kept in the database too, which holds neither of these.
    text = text.replace("\x00", "\\x00").encode("utf-8", "backslashreplace").decode()
    return f"{kind}: {text}" if text else kind
