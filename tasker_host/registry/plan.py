"""What a worker needs to run one step of a template, looked up by template and step name while steps run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from tasker_host.domain.backoff import BackoffPolicy
from tasker_host.domain.expansion import Expansion
from tasker_host.domain.publishing import Result
from tasker_host.domain.schema import SchemaCheck
from tasker_host.domain.template import EventDeclaration, StepDefinition, TaskTemplate
from tasker_host.handlers.returns import ResultCheck
from tasker_host.hooks.bound import BoundHandler
from tasker_host.hooks.publisher import BoundPublisher
from tasker_host.hooks.records import Executor

Expand = Callable[[Any], tuple[Any, Expansion]]


@dataclass(frozen=True, slots=True)
class EventPlan:
    """One declared event of a step, ready to be published.

    `on` are the results at which it fires. `publisher` None: the host's own. `check` is by the declaration's schema.
    """

    declaration: EventDeclaration
    on: frozenset[Result]
    publisher: BoundPublisher | None
    check: SchemaCheck | None
    publisher_name: str
    mode: str
    is_durable: bool
    is_fast: bool
    include_step: bool | None
    named: str
    """Members of its message, as JSON: name and version."""
    origin: str
    """Members of its metadata, as JSON: publisher, namespace and, still without its value, the step's name."""
    step_name: str
    """That of the template, as JSON."""

    @property
    def is_plain(self) -> bool:
        """Whether it is a message of the step's result and nothing more."""
        return self.publisher is None and self.is_durable and not (self.is_fast or self.include_step)


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
    lease: timedelta | None = None
    """How long a worker that falls silent keeps it; None: as for all steps of that worker."""
    executor: Executor | None = None
    """Where the handler runs; None: on the event loop."""
    is_plain: bool = True
    """Whether any JSON value that the handler returns is the step's value: nothing else is checked or added."""
    check_returned: ResultCheck | None = None
    """By the type that the handler says it returns."""
    check_result: SchemaCheck | None = None
    """By the step's `result_schema`."""
    expand: Expand | None = None
    """For decisions and analyzers: from what the handler returned to the step's value and the steps it adds.

    Raises ValueError when the template does not allow these."""
    forgiven: str | None = None
    """What an optional decision or analyzer adds when it fails, as JSON text (`functions/45_expand.sql`)."""
    events: tuple[EventPlan, ...] = ()
    """What it publishes, in the order of its declarations."""
    plain_events: tuple[EventPlan, ...] = ()
    """Those at a success, if each is a message of the step's value and no more: nobody is asked, and nobody in this
    process is given it. Else none."""
    asks_publishers: bool = False
    """Whether one of these events is not of the host's own publisher."""
