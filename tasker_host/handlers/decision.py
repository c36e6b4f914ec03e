"""Class style: a handler that decides which steps the task gets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from tasker_host.domain.result import Decision, Failed, Succeeded
from tasker_host.handlers.step import StepHandler


class DecisionHandler(StepHandler):
    """A `StepHandler` for steps of type `decision`: `call` returns a `Decision`, or what one of these methods makes."""

    capabilities: ClassVar[tuple[str, ...]] = ("process", "decision", "routing")

    def decision_success(
        self,
        steps: Iterable[str] | str,
        routing_context: Mapping[str, Any] | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> Succeeded:
        """These steps are made; `routing_context` is kept in the decision's value, for readers.

        The metadata of the attempt says who decided: `decision_handler` and `decision_version`.
        """
        names = (steps,) if isinstance(steps, str) else tuple(steps)
        return self.decision_success_with_outcome(Decision(names, dict(routing_context or {})), metadata)

    def decision_success_with_outcome(self, outcome: Decision, metadata: Mapping[str, Any] | None = None) -> Succeeded:
        """The same, of a `Decision` that is made already."""
        return Succeeded(outcome, {**(metadata or {}), "decision_handler": self.name, "decision_version": self.version})

    def decision_no_branches(
        self,
        reason: str,
        routing_context: Mapping[str, Any] | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> Succeeded:
        """No step is made, because of `reason`."""
        outcome = Decision((), {"reason": reason, **(routing_context or {})})
        return self.decision_success_with_outcome(outcome, metadata)

    route_to_steps = decision_success
    skip_branches = decision_no_branches

    def decision_failure(
        self,
        message: str,
        error_type: str = "decision_error",
        retryable: bool = False,
        metadata: Mapping[str, Any] | None = None,
    ) -> Failed:
        """It cannot be decided; tried again only when `retryable`."""
        return self.failure(message, error_type, retryable, metadata, "DECISION_ERROR")
