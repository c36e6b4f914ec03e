"""What a handler's run comes to: `Succeeded` or `Failed`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Succeeded:
    """The handler returned `value`: any JSON value, stored and handed to dependents in exactly this shape."""

    value: Any = None
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Failed:
    """The attempt failed.

    `error_type` is one of the vocabulary `permanent_error`, `retryable_error`, `validation_error`, `timeout`,
    `handler_error`, or an exception's class name. `retry_after_seconds` overrides the step's backoff.
    """

    message: str
    error_type: str = "handler_error"
    retryable: bool = True
    retry_after_seconds: float | None = None
    error_code: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """How far the handler has come: it is saved, and the same attempt goes on at once with it.

    `cursor` and `accumulated_results` are any JSON values.
    """

    cursor: Any
    items_processed: int = 0
    accumulated_results: Any = None


StepResult = Succeeded | Failed
