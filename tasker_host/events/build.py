"""From the outcome of a step to the events that its template declares; what goes wrong with one costs that one only."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

import structlog

from tasker_host.db.kernel import Claimed, Outcome
from tasker_host.domain.context import StepContext
from tasker_host.domain.event import DomainEvent, traceparent
from tasker_host.domain.ids import uuid7
from tasker_host.domain.json import dumps, loads
from tasker_host.domain.publishing import Result
from tasker_host.domain.result import Failed, StepResult, Succeeded
from tasker_host.hooks.publisher import BoundPublisher, default_payload
from tasker_host.registry.plan import EventPlan, StepPlan

log = structlog.get_logger("tasker.events")

Fate = Literal["published", "declined", "failed"]


@dataclass(frozen=True, slots=True)
class EventOptions:
    """The defaults of every field live in `config/base/events.toml`."""

    message_max_bytes: int = 262_144
    include_step: bool = False
    publisher_timeout_seconds: float = 5.0


@dataclass(slots=True)
class Built:
    """What became of one declared event; `event` is there when it is published, `error` when it failed."""

    plan: EventPlan
    fate: Fate
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
        happened = result_of(outcome)
        due = [event for event in plan.events if happened in event.on]
        publication = Publication(step, plan, outcome)
        if due:
            source = _Source(publication, happened, new_context, self._options)
            durable = []
            for event in due:
                built, message = await source.built(event)
                publication.built.append(built)
                if message is not None and event.is_durable:
                    durable.append(message)
            if durable:
                publication.outcome = outcome._replace(events=f"[{','.join(durable)}]")
        return publication


def result_of(outcome: Outcome) -> Result:
    """A failure that will not be tried again is permanent, also when it is because no attempt is left."""
    if outcome.kind == "succeeded":
        return "success"
    return "permanent_failure" if outcome.retry_after is None else "retryable_failure"


class _Source:
    """What the events of one outcome have in common; what they hardly ever need is made when it is asked for."""

    def __init__(
        self, publication: Publication, happened: Result, new_context: Callable[[], StepContext], options: EventOptions
    ) -> None:
        step, plan = publication.step, publication.plan
        self._step = step
        self._plan = plan
        self._outcome = publication.outcome
        self._new_context = new_context
        self._options = options
        self._context: StepContext | None = None
        self._whole: str | None = None
        self._base: dict[str, Any] = {
            "task_uuid": str(step.task_uuid),
            "step_uuid": str(step.step_uuid),
            "step_name": step.name,
            "namespace": step.namespace,
            "template_name": plan.template.name,
            "template_version": plan.template.version,
            "correlation_id": str(step.correlation_id),
            "parent_correlation_id": None if step.parent_correlation_id is None else str(step.parent_correlation_id),
            "traceparent": traceparent(step.correlation_id, step.step_uuid, step.attempt),
            "attempt": step.attempt,
            "max_attempts": step.max_attempts,
            "outcome": happened,
            "fired_at": datetime.now(UTC).isoformat(timespec="microseconds"),
        }

    async def built(self, event: EventPlan) -> tuple[Built, str | None]:
        """The event, and its message as JSON text."""
        payload: Any = None
        try:
            if event.publisher is None:
                return self._finished(event, self._default_text(), {})
            payload, more = await self._published(event, event.publisher)
            if payload is None:
                return Built(event, "declined"), None
            built, message = self._finished(event, dumps(payload), more)
            assert built.event is not None
            if event.publisher.hooks is not None:
                before = event.publisher.hooks.before_publish
                if not await self._called(before, event.declaration.name, payload, built.event.metadata):
                    return Built(event, "declined"), None
            return built, message
        except BaseException as error:  # plugin code: whatever it raises costs this event and nothing else
            told = str(error) if isinstance(error, PublisherError) else error_text(error)
            if event.publisher is not None and event.publisher.hooks is not None:
                await self._tell_of(error, event, payload)
            return Built(event, "failed", error=told), None

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

    async def _tell_of(self, error: BaseException, event: EventPlan, payload: Any) -> None:
        assert event.publisher is not None
        assert event.publisher.hooks is not None
        told = error if isinstance(error, Exception) else RuntimeError(error_text(error))
        try:
            await self._called(event.publisher.hooks.on_publish_error, event.declaration.name, told, payload)
        except BaseException as second:  # plugin code again
            log.warning(
                "publisher failed to hear of its error", publisher=event.publisher_name, error=error_text(second)
            )

    def _finished(self, event: EventPlan, payload_text: str, more: Mapping[str, Any]) -> tuple[Built, str]:
        """Checks the payload and makes one event of it, and its message. Raises PublisherError."""
        declaration = event.declaration
        payload: Any = None
        if (
            event.check is not None
            or event.is_fast
            or (event.publisher is not None and event.publisher.hooks is not None)
        ):
            payload = loads(payload_text)
        if event.check is not None and (problems := event.check(payload)):
            told = "; ".join(map(str, problems[:5]))
            raise PublisherError(f"the payload does not fit the schema of '{declaration.name}': {told}")
        metadata = {**more, **self._base, "fired_by": event.publisher_name}
        whole = self._whole_step() if self._includes_step(event) else None
        event_id = uuid7()
        message = "".join(
            (
                f'{{"event_id":"{event_id}","event_name":"{declaration.name}","event_version":',
                dumps(declaration.version),
                f',"payload":{payload_text},"metadata":',
                dumps(metadata),
                f',"step":{whole}}}' if whole is not None else "}",
            )
        )
        self._check_size(message)
        if event.is_durable:
            check_storable(message)
        made = DomainEvent(
            event_id,
            declaration.name,
            payload,
            metadata,
            declaration.version,
            loads(whole) if whole is not None and event.is_fast else None,
        )
        return Built(event, "published", made), message

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
