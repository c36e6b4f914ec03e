"""What a handler's run comes to: `Succeeded` or `Failed`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
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


@dataclass(frozen=True, slots=True)
class Decision:
    """What a decision step chose: the steps below it that the task gets. `routing` is kept with it, for readers."""

    step_names: tuple[str, ...] = ()
    routing: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def route(cls, steps: Iterable[str], **routing: Any) -> Decision:
        """These steps are made."""
        return cls((steps,) if isinstance(steps, str) else tuple(steps), routing)

    @classmethod
    def skip(cls, reason: str, **routing: Any) -> Decision:
        """None is made."""
        return cls((), {"reason": reason, **routing})

    def as_value(self) -> dict[str, Any]:
        """The value of the decision's step."""
        if not self.step_names:
            return {DECISION_OUTCOME: {"type": "no_branches"}, **self.routing}
        return {DECISION_OUTCOME: {"type": "create_steps", "step_names": list(self.step_names)}, **self.routing}


DECISION_OUTCOME = "decision_point_outcome"
"""The key under which a decision's value holds what it chose."""


def decision_of(value: Any) -> Decision:
    """What the value of a decision's step chose. Raises ValueError that says what was found."""
    if isinstance(value, Decision):
        said: tuple[object, ...] = value.step_names  # whatever the handler put there
        for name in said:
            if not isinstance(name, str):
                raise ValueError(f"a decision names steps by text (got {repr(name)[:80]})")
        return value
    outcome = value.get(DECISION_OUTCOME, value) if isinstance(value, Mapping) else value
    kind = outcome.get("type") if isinstance(outcome, Mapping) else None
    if kind == "no_branches":
        return Decision()
    names = outcome.get("step_names") if kind == "create_steps" else None
    if isinstance(names, list | tuple) and names and all(isinstance(name, str) for name in names):
        return Decision(tuple(names))
    raise ValueError(
        f"a decision returns Decision.route([…]), Decision.skip(…) or {{{DECISION_OUTCOME!r}: {{'type': 'create_steps',"
        f" 'step_names': […]}} or {{'type': 'no_branches'}}}} (got {repr(value)[:80]})"
    )


StepResult = Succeeded | Failed
