"""What says the payload of an event: the class to write one as, and what every publisher becomes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tasker_host.domain.context import StepContext
from tasker_host.domain.result import Failed, StepResult
from tasker_host.domain.template import EventDeclaration

DEFAULT = "default"
"""The name of the host's own publisher."""


def default_payload(result: StepResult, attempt: int) -> Any:
    """The value of a step that succeeded; for a failure {"error_type", "message", "attempt", "retryable"}.

    `error_code` is there as well where the failure has one.
    """
    if not isinstance(result, Failed):
        return result.value
    payload: dict[str, Any] = {
        "error_type": result.error_type,
        "message": result.message,
        "attempt": attempt,
        "retryable": result.retryable,
    }
    if result.error_code is not None:
        payload["error_code"] = result.error_code
    return payload


class EventPublisher:
    """A publisher as a class: override what is to differ; every method may be `async def` instead.

    `name` is what templates write. All of them are called on the event loop. What they are given is for those that
    override them: as they are here, most make nothing of it.
    """

    name: str = ""

    def should_publish(self, step: StepContext, result: StepResult, event: EventDeclaration) -> Any:
        """False: this event is declined."""
        del step, result, event
        return True

    def transform_payload(self, step: StepContext, result: StepResult, event: EventDeclaration) -> Any:
        """The payload; None declines. As it is here: the result, or for a failure the error."""
        del event
        return default_payload(result, step.attempt)

    def additional_metadata(self, step: StepContext, result: StepResult, event: EventDeclaration) -> Any:
        """More metadata, as a mapping; what the host itself says there cannot be changed."""
        del step, result, event
        return {}

    def before_publish(self, event_name: str, payload: Any, metadata: Mapping[str, Any]) -> Any:
        """Last word before the event becomes part of the result; False declines, returning nothing does not."""
        del event_name, payload, metadata
        return True

    def after_publish(self, event_name: str, payload: Any, metadata: Mapping[str, Any]) -> Any:
        """The result was committed, and the event with it. Never called for a result that came too late."""

    def on_publish_error(self, event_name: str, error: Exception, payload: Any) -> Any:
        """The event could not be published: something above raised, or the payload does not fit. `payload` may be
        None."""


@dataclass(frozen=True, slots=True)
class BoundPublisher:
    """A publisher, ready: of a record only `build` is there, of a class only `hooks`."""

    name: str
    plugin: str
    build: Callable[[StepContext, StepResult, EventDeclaration], Any] | None = None
    hooks: EventPublisher | None = None
