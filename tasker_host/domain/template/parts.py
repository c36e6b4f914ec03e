"""The parts of a template: each key of the YAML file with its type, range and default."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    ConfigDict,
    Field,
    Strict,
    field_validator,
    model_validator,
)

from tasker_host.domain.states import StepType

ALL_STEPS = "ALL"
"""The name by which an override of an environment means every step."""

_EVENT_NAME = re.compile(r"[a-z0-9_]+(\.[a-z0-9_]+)+")
PUBLISHER_NAME = re.compile(r"[A-Za-z_]\w*((::|\.)[A-Za-z_]\w*)*")
_FIELD = re.compile(r"\{\{?\s*[A-Za-z_][\w-]*(?:\.[\w-]+)*\s*\}?\}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")


def _clean(text: str) -> str:
    if _CONTROL.search(text):
        raise ValueError("must not contain control characters")
    return text


def _step_name(name: str) -> str:
    if name == ALL_STEPS:
        raise ValueError(f"{ALL_STEPS} is reserved: it means every step in environments")
    return name


def event_name(name: str) -> str:
    """`name` itself if an event may be called so. Raises ValueError."""
    if not _EVENT_NAME.fullmatch(name):
        raise ValueError("must be words of a-z, 0-9 and _ joined by dots, at least two, like 'order.placed'")
    if name.startswith("host."):
        raise ValueError("names that start with 'host.' are the host's own")
    return name


def _publisher(name: str) -> str:
    if not PUBLISHER_NAME.fullmatch(name):
        raise ValueError("must be identifiers joined by dots, like 'PaymentPublisher' or 'payments.PaymentPublisher'")
    return name


def _expression(text: str) -> str:
    if "{" in _FIELD.sub("", text) or "}" in _FIELD.sub("", text):
        raise ValueError("must be text with fields of the context in braces, like 'customer-{customer.id}'")
    return text


def like(pattern: re.Pattern[str]) -> Any:
    """Tells editors, through the JSON Schema, what the validator beside it checks with an error of its own."""
    return Field(json_schema_extra={"pattern": f"^(?:{pattern.pattern})$"})


# Strict: a template is typed text, and '3', yes or 1.0 in place of 3, true or 1 is a mistake worth hearing of.
Flag = Annotated[bool, Strict()]
Whole = Annotated[int, Strict()]
Seconds = Annotated[float, Strict(), Field(gt=0, allow_inf_nan=False)]
Minutes = Annotated[int, Strict(), Field(ge=1, le=10_080)]
Text = Annotated[str, AfterValidator(_clean)]
Name = Annotated[str, Field(min_length=1, max_length=255), AfterValidator(_clean)]
StepName = Annotated[Name, AfterValidator(_step_name)]
EventName = Annotated[str, Field(max_length=255), like(_EVENT_NAME), AfterValidator(event_name)]
Tag = Annotated[str, Field(min_length=1, max_length=128), AfterValidator(_clean)]
Priority = Annotated[int, Strict(), Field(ge=-100, le=100)]
ConcurrencyKey = Annotated[
    str, Field(min_length=1, max_length=500), AfterValidator(_clean), AfterValidator(_expression)
]
ConcurrencyLimit = Annotated[int, Strict(), Field(ge=1, le=100_000)]


class Part(BaseModel):
    """A mapping of the file. An unknown key is refused; a key without a value counts as left out."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, data: Any) -> Any:
        if isinstance(data, Mapping):
            return {key: value for key, value in data.items() if value is not None}
        return data


class Backoff(StrEnum):
    NONE = "none"
    LINEAR = "linear"
    EXPONENTIAL = "exponential"
    FIBONACCI = "fibonacci"


class IdentityStrategy(StrEnum):
    """What makes two submissions the same task."""

    STRICT = "strict"
    CALLER_PROVIDED = "caller_provided"
    ALWAYS_UNIQUE = "always_unique"


UniqueFor = Literal["forever", "running"] | Annotated[int, Strict(), Field(ge=1, le=31_536_000)]
"""How long the identity of a task is taken: for ever, until it is over, or so many seconds from its creation."""


class OnFailure(StrEnum):
    """Where a task ends when a step failed for good and nothing else can run."""

    BLOCK = "block"
    FAIL = "fail"


class PublishCondition(StrEnum):
    SUCCESS = "success"
    FAILURE = "failure"
    RETRYABLE_FAILURE = "retryable_failure"
    PERMANENT_FAILURE = "permanent_failure"
    ALWAYS = "always"


class DeliveryMode(StrEnum):
    DURABLE = "durable"
    FAST = "fast"
    BROADCAST = "broadcast"


class FailureStrategy(StrEnum):
    """What a failed batch worker means for the other workers of its batch."""

    CONTINUE_ON_FAILURE = "continue_on_failure"
    FAIL_FAST = "fail_fast"
    ISOLATE = "isolate"


class StalenessAction(StrEnum):
    DLQ = "dlq"
    ERROR = "error"
    NONE = "none"


class RetryPolicy(Part):
    """How often a step is run and how long is waited in between.

    `max_attempts` counts all executions, the first one included; 0 runs once, like 1. Backoff, base and cap are the
    host's defaults where None. `limit` is read as `max_attempts`.
    """

    retryable: Flag = True
    max_attempts: Whole = Field(default=3, ge=0, le=100, validation_alias=AliasChoices("max_attempts", "limit"))
    backoff: Backoff | None = None
    backoff_base_ms: Whole | None = Field(default=None, ge=0, le=3_600_000)
    max_backoff_ms: Whole | None = Field(default=None, ge=0, le=3_600_000)


class HandlerDefinition(Part):
    """`initialization` is handed to the handler as its configuration."""

    callable: Annotated[str, Field(min_length=1, max_length=500), AfterValidator(_clean)]
    method: Name | None = None
    resolver: Name | None = None
    initialization: dict[str, Any] = Field(default_factory=dict)


class EventDeclaration(Part):
    """An event that a step publishes when its outcome meets `condition`.

    `include_step` None: what `events.include_step` of the configuration says.
    """

    name: EventName
    description: str | None = None
    condition: PublishCondition = PublishCondition.SUCCESS
    payload_schema: dict[str, Any] | None = Field(default=None, alias="schema")
    delivery_mode: DeliveryMode = DeliveryMode.DURABLE
    publisher: Annotated[str, Field(max_length=255), like(PUBLISHER_NAME), AfterValidator(_publisher)] | None = None
    version: Annotated[str, Field(min_length=1, max_length=50), AfterValidator(_clean)] = "1.0"
    include_step: Flag | None = None


class BatchConfig(Part):
    """How the instances of a batch worker are cut and run."""

    batch_size: Whole = Field(ge=1, le=100_000)
    parallelism: Whole = Field(ge=1, le=1_000)
    cursor_field: Name
    worker_template: Name
    failure_strategy: FailureStrategy


class StepDefinition(Part):
    """A step. Unless it is `optional`, its permanent failure holds back the steps below it and the end of the task.

    Steps whose `concurrency_key` comes to the same text for their tasks' contexts run `concurrency_limit` at a time.
    """

    name: StepName
    description: str | None = None
    type: StepType = Field(default=StepType.STANDARD, validation_alias=AliasChoices("type", "step_type"))
    handler: HandlerDefinition
    system_dependency: Name | None = None
    dependencies: tuple[Name, ...] = Field(default=(), validation_alias=AliasChoices("dependencies", "depends_on"))
    retry: RetryPolicy = Field(default_factory=RetryPolicy)
    timeout_seconds: Seconds | None = None
    lease_seconds: float | None = Field(default=None, ge=1, le=86_400)
    publishes_events: tuple[EventDeclaration, ...] = ()
    batch_config: BatchConfig | None = None
    result_schema: dict[str, Any] | None = None
    composition: Any = None
    optional: Flag = False
    priority: Priority | None = None
    tags: tuple[Tag, ...] = ()
    concurrency_key: ConcurrencyKey | None = None
    concurrency_limit: ConcurrencyLimit | None = None

    @field_validator("dependencies")
    @classmethod
    def _each_once(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        # A step counts its parents down: one named twice would never reach zero.
        return tuple(dict.fromkeys(names))


class HandlerOverride(Part):
    initialization: dict[str, Any] = Field(default_factory=dict)


class StepOverride(Part):
    """What an environment changes in the step `name`, or in all when the name is ALL."""

    name: Name
    handler: HandlerOverride | None = None
    timeout_seconds: Seconds | None = None
    retry: RetryPolicy | None = None

    def applied_to(self, step: StepDefinition) -> StepDefinition:
        """`step` with initialization merged key by key, timeout and retry replaced."""
        changes: dict[str, Any] = {}
        if self.handler is not None:
            merged = step.handler.initialization | self.handler.initialization
            changes["handler"] = step.handler.model_copy(update={"initialization": merged})
        if self.timeout_seconds is not None:
            changes["timeout_seconds"] = self.timeout_seconds
        if self.retry is not None:
            changes["retry"] = self.retry
        return step.model_copy(update=changes)


class Environment(Part):
    steps: tuple[StepOverride, ...] = ()


class Metadata(Part):
    """For readers; further keys are kept."""

    model_config = ConfigDict(extra="allow", frozen=True)

    author: str | None = None
    tags: tuple[str, ...] = ()
    documentation_url: str | None = None
    created_at: str | None = None
    updated_at: str | None = None


class SystemDependencies(Part):
    primary: Name = "default"
    secondary: tuple[Name, ...] = ()


class EventDescription(Part):
    """Documentation of an event of this workflow; steps declare what is published."""

    name: EventName
    description: str | None = None
    payload_schema: dict[str, Any] | None = Field(default=None, alias="schema")


class Lifecycle(Part):
    """How long a task may take, after how many minutes one that does not move is stale, and what is done then.

    The longest duration is given in minutes or in seconds, not in both. What `staleness_action` comes to is said in its
    two parts by `auto_dlq_on_timeout` and `auto_fail_on_timeout`, which win over it; they hold for the duration too.
    """

    max_duration_minutes: Whole | None = Field(default=None, ge=1, le=43_200)
    max_duration_seconds: Whole | None = Field(default=None, ge=1, le=2_592_000)
    max_waiting_for_dependencies_minutes: Minutes | None = None
    max_waiting_for_retry_minutes: Minutes | None = None
    max_steps_in_process_minutes: Minutes | None = None
    staleness_action: StalenessAction = StalenessAction.DLQ
    auto_fail_on_timeout: Flag | None = None
    auto_dlq_on_timeout: Flag | None = None

    @model_validator(mode="after")
    def _one_duration(self) -> Lifecycle:
        if self.max_duration_minutes is not None and self.max_duration_seconds is not None:
            raise ValueError("has max_duration_minutes and max_duration_seconds: give one of them")
        return self
