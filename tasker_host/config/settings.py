"""The settings: their types, bounds and meaning. Default values are in the TOML that ships, `config/base/`."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from tasker_host.domain.patterns import check_pattern
from tasker_host.domain.routing import key_problem, queue_problem
from tasker_host.domain.template import Backoff

MAX_CONTEXT_DEPTH = 200
"""Below the depth to which JSON is read at all, so that a result may wrap a context."""


class _Section(BaseModel):
    # Strict: TOML has types, so `slots = "many"` and `slots = 1.5` are mistakes. What comes from a variable has no type
    # of its own and is converted before (see resolve).
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


def _postgres_url(value: Any) -> Any:
    if isinstance(value, str) and value and not value.startswith(("postgresql://", "postgres://")):
        raise ValueError("must begin with postgresql:// or postgres://")
    return value


def _lower(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


DatabaseUrl = Annotated[str, BeforeValidator(_postgres_url)]
Seconds = Annotated[float, Field(gt=0, le=86_400)]
Minutes = Annotated[int, Field(ge=1, le=525_600)]
Days = Annotated[float, Field(ge=0, le=36_500)]
Packages = Annotated[tuple[Annotated[str, Field(pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*$")], ...], Field(strict=False)]
Names = Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(strict=False)]


EventPattern = Annotated[str, AfterValidator(check_pattern)]


class AutoMigrate(StrEnum):
    EMBEDDED = "embedded"
    ALWAYS = "always"
    NEVER = "never"


class WorkerMode(StrEnum):
    HYBRID = "hybrid"
    EVENT_DRIVEN = "event_driven"
    POLLING = "polling"


class LogLevel(StrEnum):
    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class LogFormat(StrEnum):
    AUTO = "auto"
    CONSOLE = "console"
    JSON = "json"


class DatabaseSettings(_Section):
    url: DatabaseUrl = Field(repr=False, description="PostgreSQL 15 or newer; empty: the embedded server.")
    listen_url: DatabaseUrl = Field(
        repr=False, description="Direct connection for LISTEN when `url` is a pooler; empty: `url`."
    )
    embedded: bool = Field(description="Whether the embedded server may be started when `url` is empty.")
    data_dir: str = Field(description="Data directory of the embedded server; empty: the user's own default.")
    embedded_binaries: str = Field(description="Directory with `initdb` and `postgres`; empty: looked for.")
    pool_size: int = Field(
        ge=1, le=100, description="Connections that this process opens at most, beside the worker's."
    )
    connect_timeout_seconds: Seconds = Field(description="How long one attempt to connect may take.")
    statement_cache_size: int = Field(
        ge=0, le=10_000, description="Prepared statements per connection; 0 for PgBouncer."
    )
    breaker_failures: int = Field(
        ge=1, le=100, description="Failures in a row after which nothing is tried for a while."
    )
    breaker_open_seconds: Seconds = Field(description="How long that is.")
    breaker_successes: int = Field(ge=1, le=100, description="Successes after which everything is tried again.")
    auto_migrate: AutoMigrate = Field(
        strict=False, description="Which databases are migrated at the start: the embedded one, every one, or none."
    )


class RetrySettings(_Section):
    backoff: Backoff = Field(strict=False, description="How the wait grows with each attempt.")
    base_ms: int = Field(ge=0, le=3_600_000, description="Wait before the second attempt, in milliseconds.")
    max_ms: int = Field(ge=0, le=3_600_000, description="Longest wait, in milliseconds.")
    jitter: float = Field(ge=0, le=1, description="Fraction by which a wait is spread, below and above.")

    @model_validator(mode="after")
    def _ordered(self) -> RetrySettings:
        if self.base_ms > self.max_ms:
            raise ValueError(f"base_ms is {self.base_ms}, more than max_ms, which is {self.max_ms}")
        return self


class WorkerSettings(_Section):
    id: str = Field(max_length=200, description="Name of this worker in leases and history; empty: made at the start.")
    mode: WorkerMode = Field(strict=False, description="How new work is noticed: doorbells, polling, or both.")
    slots: int = Field(ge=1, le=10_000, description="Steps that run at the same time.")
    min_slots: int = Field(ge=0, le=10_000, description="Fewest slots, when they follow what runs; 0: they are fixed.")
    max_slots: int = Field(ge=0, le=10_000, description="Most slots, when they follow what runs; 0: they are fixed.")
    shed_percent: int = Field(
        ge=1, le=100, description="At so many percent of its slots a worker takes nothing more from the queues."
    )
    shed_warn_percent: int = Field(ge=1, le=100, description="At so many percent of its slots it warns.")
    heartbeat_seconds: Seconds = Field(description="How often a worker says that it lives.")
    thread_slots: int = Field(ge=1, le=1_000, description="How many of them may be handlers written without async.")
    process_slots: int = Field(ge=1, le=1_000, description="How many of them may be handlers that run in processes.")
    max_claim: int = Field(ge=1, le=10_000, description="Steps taken in one call at most.")
    lease_seconds: int = Field(ge=1, le=86_400, description="How long a silent worker keeps its steps.")
    max_blocked_seconds: float = Field(
        ge=0, le=86_400, description="How long a worker keeps its steps while a handler holds the interpreter."
    )
    poll_interval_seconds: Seconds = Field(description="Pause between polls.")
    aging_interval_seconds: Seconds = Field(description="Waiting this long counts as much as one level of priority.")
    handler_timeout_seconds: Seconds = Field(description="How long a handler may run when its step does not say.")
    shutdown_grace_seconds: float = Field(ge=0, le=86_400, description="Time for running handlers after SIGTERM.")
    namespaces: Names = Field(description="Serve only these namespaces; empty: all of them.")
    handler_packages: Packages = Field(description="Packages from which templates may name handlers by their path.")
    tags: Names = Field(
        description="With tags: take only steps that ask for no others. Empty: take everything, tags or not."
    )
    retry: RetrySettings = Field(description="For steps whose template does not say how to retry.")

    @model_validator(mode="after")
    def _slots_in_order(self) -> WorkerSettings:
        if (self.min_slots or self.max_slots) and not 1 <= self.min_slots <= self.max_slots:
            raise ValueError(
                "min_slots and max_slots must both be 0, or at least 1 and in this order"
                f" (got {self.min_slots} and {self.max_slots})"
            )
        return self


class StalenessSettings(_Section):
    enabled: bool = Field(description="Whether tasks that stopped moving are looked for.")
    dry_run: bool = Field(description="Only log what would be done.")
    waiting_for_dependencies_minutes: Minutes = Field(description="Stale after, in `waiting_for_dependencies`.")
    waiting_for_retry_minutes: Minutes = Field(description="Stale after, in `waiting_for_retry`.")
    steps_in_process_minutes: Minutes = Field(description="Stale after, in `steps_in_process`.")
    other_minutes: Minutes = Field(description="Stale after, in every other state.")
    task_max_lifetime_hours: int = Field(ge=1, le=8_760, description="Stale after, whatever the state.")
    auto_transition_to_error: bool = Field(description="Whether a stale task ends in error.")


class DeadLetterSettings(_Section):
    enabled: bool = Field(description="Whether dead letters are filed.")


class SweepSettings(_Section):
    interval_seconds: Seconds = Field(description="Pause between two sweeps.")
    batch_size: int = Field(ge=1, le=10_000, description="Tasks dealt with in one transaction.")
    staleness: StalenessSettings = Field(description="Tasks that stopped moving.")
    dead_letters: DeadLetterSettings = Field(description="Investigations.")


class RetentionAction(StrEnum):
    DELETE = "delete"
    ARCHIVE = "archive"


class RetentionOverride(_Section):
    """One `[retention.namespaces.<name>]`; what is None is as for all."""

    max_age_days: Days | None = Field(default=None, description="0: no limit.")
    max_count: int | None = Field(default=None, ge=0, description="0: no limit.")
    action: RetentionAction | None = Field(default=None, strict=False, description="delete or archive.")


class RetentionSettings(_Section):
    enabled: bool = Field(description="Whether finished tasks are taken away.")
    max_age_days: Days = Field(description="Finished longer ago: taken away; 0: no limit.")
    max_count: int = Field(ge=0, description="How many of a namespace are kept, those that finished last; 0: no limit.")
    action: RetentionAction = Field(strict=False, description="Whether they are deleted or archived.")
    batch_size: int = Field(ge=1, le=10_000, description="Tasks taken away in one transaction.")
    pause_ms: int = Field(ge=0, le=60_000, description="Between two batches, in milliseconds.")
    namespaces: dict[str, RetentionOverride] = Field(description="What is otherwise in a namespace, by its name.")


class WebSettings(_Section):
    enabled: bool = Field(description="Whether `tasker run` serves HTTP.")
    host: str = Field(min_length=1, description="Address to listen on.")
    port: int = Field(ge=0, le=65_535, description="0: any free one.")
    request_body_max_bytes: int = Field(
        ge=1_024, le=1_073_741_824, description="Larger requests are answered with 413."
    )


class PluginSettings(_Section):
    """One `[plugins.<name>]`. The only defaults outside the TOML that ships, which cannot know the names."""

    enabled: bool = Field(default=True, description="False: never imported.")
    required: bool = Field(default=False, description="Missing, refused or failed: the host does not start.")
    settings: dict[str, Any] = Field(default_factory=dict, repr=False, description="Checked by the plugin's own model.")


class PluginsSettings(_Section):
    autoload: bool = Field(description="False: only plugins that have a section here are imported.")
    named: dict[str, PluginSettings] = Field(description="The `[plugins.<name>]` sections by name.")

    @model_validator(mode="before")
    @classmethod
    def _sections_by_name(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        own = {key: value for key, value in data.items() if key == "autoload"}
        return {**own, "named": {key: value for key, value in data.items() if key != "autoload"}}


class LimitsSettings(_Section):
    context_max_bytes: int = Field(ge=1_024, le=268_435_456, description="A task's context, as compact JSON.")
    context_max_depth: int = Field(ge=1, le=MAX_CONTEXT_DEPTH, description="Nesting of a task's context.")
    result_max_bytes: int = Field(ge=1_024, le=268_435_456, description="The value that a handler returns, as JSON.")
    page_size_max: int = Field(ge=1, le=1_000, description="Rows in one page of the API.")
    decision_steps_max: int = Field(ge=1, le=10_000, description="Steps that one decision may choose.")
    decision_depth_max: int = Field(ge=1, le=100, description="Decisions one after the other.")
    batch_workers_max: int = Field(ge=1, le=1_000_000, description="Workers of one batch.")


class BindingSettings(_Section):
    """One `[[events.bindings]]`."""

    pattern: EventPattern = Field(description="Names of events: * is one segment, ** or # any number of them.")
    queue: str = Field(description="The PGMQ queue that gets them too.")
    namespaces: Names = Field(default=(), description="Only events of tasks of these; empty: of all.")
    ordered_by: str = Field(default="", description="Where in an event the key is by which the queue is read in order.")

    @field_validator("queue")
    @classmethod
    def _queue(cls, value: str) -> str:
        return _no_problem(queue_problem(value), value)

    @field_validator("ordered_by")
    @classmethod
    def _key(cls, value: str) -> str:
        return _no_problem(key_problem(value) if value else None, value)


def _no_problem(problem: str | None, value: str) -> str:
    if problem:
        raise ValueError(problem)
    return value


class RelaysSettings(_Section):
    enabled: bool = Field(description="Whether this host runs relays.")
    only: Names = Field(description="Only these relays; empty: all that plugins give.")
    concurrency: int = Field(ge=1, le=1_000, description="Deliveries of one relay under way in this process.")
    batch_size: int = Field(ge=1, le=10_000, description="Events that are taken ahead of their delivery.")
    timeout_seconds: Seconds = Field(description="How long one delivery may take.")
    lease_seconds: int = Field(ge=1, le=86_400, description="How long a silent host keeps the events it took.")
    max_attempts: int = Field(ge=1, le=1_000, description="Deliveries of one event that are begun at most.")
    breaker_failures: int = Field(ge=1, le=100, description="Failures in a row after which a target is left alone.")
    breaker_open_seconds: Seconds = Field(description="How long that is.")
    breaker_successes: int = Field(ge=1, le=100, description="Successes after which it gets everything again.")
    poll_interval_seconds: Seconds = Field(description="Pause between looks.")
    shutdown_grace_seconds: float = Field(ge=0, le=86_400, description="Time for deliveries when the host stops.")
    retry: RetrySettings = Field(description="How long an event waits for its next delivery.")


class EventRetentionSettings(_Section):
    unconsumed_max_age_days: Days = Field(description="Events in queues that nobody has consumed; 0: kept for ever.")
    archived_max_age_days: Days = Field(description="Events that a consumer has archived; 0: kept for ever.")
    dead_max_age_days: Days = Field(description="Events that relays gave up; 0: kept for ever.")
    consumed_max_age_days: Days = Field(description="What consumers remember to have done; 0: for ever.")


class ShareSettings(_Section):
    enabled: bool = Field(description="Whether subscribers hear the fast events of other hosts, and they ours.")
    queue_size: int = Field(ge=1, le=1_000_000, description="Events that wait to be sent at most.")


class EventsSettings(_Section):
    message_max_bytes: int = Field(ge=1_024, le=268_435_456, description="One event, as compact JSON.")
    include_step: bool = Field(description="Whether events carry the whole context of their step.")
    publisher_timeout_seconds: Seconds = Field(description="How long an async publisher may take.")
    subscriber_timeout_seconds: Seconds = Field(description="How long a subscriber may take for one event.")
    drain_seconds: float = Field(ge=0, le=3_600, description="Time for subscribers to hear what is queued, at a stop.")
    ledger_seconds: Seconds = Field(description="How often a host adds its counts to those in the database.")
    log: Annotated[tuple[EventPattern, ...], Field(strict=False)] = Field(description="Fast events that are logged.")
    metrics: bool = Field(description="Whether fast events are counted by name and namespace.")
    bindings: Annotated[tuple[BindingSettings, ...], Field(strict=False)] = Field(
        description="More queues that durable events go to."
    )
    share: ShareSettings = Field(description="Fast events of other hosts.")
    relays: RelaysSettings = Field(description="What carries durable events out.")
    retention: EventRetentionSettings = Field(description="What is taken away by its age.")

    @field_validator("bindings")
    @classmethod
    def _bound_once(cls, bindings: tuple[BindingSettings, ...]) -> tuple[BindingSettings, ...]:
        found: set[tuple[str, str]] = set()
        for binding in bindings:
            if (pair := (binding.pattern, binding.queue)) in found:
                raise ValueError(
                    f"'{binding.pattern}' is bound to '{binding.queue}' twice: write its namespaces in one binding"
                )
            found.add(pair)
        keys: dict[str, str] = {}
        for binding in bindings:
            if keys.setdefault(binding.queue, binding.ordered_by) != binding.ordered_by:
                raise ValueError(
                    f"the queue '{binding.queue}' is bound with two different ordered_by: it has one order"
                )
        return bindings


class TelemetrySettings(_Section):
    log_level: Annotated[LogLevel, BeforeValidator(_lower)] = Field(strict=False, description="Least level logged.")
    log_format: Annotated[LogFormat, BeforeValidator(_lower)] = Field(
        strict=False, description="auto: console on a terminal, else a JSON object a line."
    )


class TemplatesSettings(_Section):
    paths: Names = Field(description="More YAML templates: files, or directories read with all below them.")


class Settings(_Section):
    """Everything that can be configured."""

    database: DatabaseSettings
    worker: WorkerSettings
    sweep: SweepSettings
    retention: RetentionSettings
    web: WebSettings
    plugins: PluginsSettings
    limits: LimitsSettings
    events: EventsSettings
    telemetry: TelemetrySettings
    templates: TemplatesSettings
