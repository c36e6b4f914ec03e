"""What a worker needs to run one step of a template, looked up by template and step name while steps run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tasker_host.domain.backoff import BackoffPolicy
from tasker_host.domain.expansion import Expansion
from tasker_host.domain.schema import SchemaCheck
from tasker_host.domain.template import StepDefinition, TaskTemplate
from tasker_host.hooks.bound import BoundHandler

Expand = Callable[[Any], tuple[Any, Expansion]]


@dataclass(frozen=True, slots=True)
class StepPlan:
    """One step, ready to run: its handler, its configuration and what is done when it fails."""

    template: TaskTemplate
    definition: StepDefinition
    handler: BoundHandler
    call: Callable[..., Any]
    config: Mapping[str, Any]
    backoff: BackoffPolicy
    retryable: bool
    timeout_seconds: float
    in_thread: bool
    in_process: bool = False
    is_plain: bool = True
    """Whether any JSON value that the handler returns is the step's value: nothing else is checked or added."""
    check_result: SchemaCheck | None = None
    """By the step's `result_schema`."""
    expand: Expand | None = None
    """For decisions and analyzers: from what the handler returned to the step's value and the steps it adds.

    Raises ValueError when the template does not allow these."""
