"""A domain event: something that happened to the business, told by a step that reported it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

HOST_PREFIX = "host."
"""Of the names of the host's own happenings; no template may declare such a one."""


@dataclass(frozen=True, slots=True)
class DomainEvent:
    """One event, the same on both paths: as a message of `{namespace}_domain_events` and as what subscribers are given.

    `payload` is what the publisher said. `metadata` says where it comes from, all values as JSON has them: `task_uuid`,
    `step_uuid`, `step_name`, `namespace`, `correlation_id`, `parent_correlation_id` (where the task has one),
    `traceparent`, `attempt` (from the second on), `outcome` (of a failure), `fired_at` and `fired_by`, and what a
    publisher adds. `step` is the whole context of the step, where that was asked for.
    """

    event_id: UUID
    event_name: str
    payload: Any
    metadata: Mapping[str, Any] = field(default_factory=dict)
    event_version: str = "1.0"
    step: Mapping[str, Any] | None = None

    def as_message(self) -> dict[str, Any]:
        """The message of the queue: JSON, with `step` only where it was asked for."""
        message = {
            "event_id": str(self.event_id),
            "event_name": self.event_name,
            "event_version": self.event_version,
            "payload": self.payload,
            "metadata": dict(self.metadata),
        }
        return message if self.step is None else {**message, "step": dict(self.step)}

    @classmethod
    def from_message(cls, message: Mapping[str, Any]) -> DomainEvent:
        """The event that a message of the queue is. Raises ValueError for what is none."""
        try:
            event_id, name, metadata = UUID(message["event_id"]), message["event_name"], message["metadata"]
            if not isinstance(name, str) or not isinstance(metadata, Mapping):
                raise TypeError
        except (KeyError, TypeError, ValueError, AttributeError):
            raise ValueError(f"not a domain event: {repr(message)[:200]}") from None
        return cls(
            event_id, name, message.get("payload"), metadata, message.get("event_version", "1.0"), message.get("step")
        )
