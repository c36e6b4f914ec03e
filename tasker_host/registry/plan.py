"""What a worker needs to run one step of a template, looked up by template and step name while steps run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tasker_host.domain.backoff import BackoffPolicy
from tasker_host.domain.template import StepDefinition, TaskTemplate
from tasker_host.hooks.bound import BoundHandler


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
