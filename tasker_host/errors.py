"""Every exception the host raises.

TaskerError
├── ConfigError               a TOML file, variable or setting is wrong            CONFIG_INVALID
├── PluginError               a required plugin is missing, refused or failed      PLUGIN_REQUIRED
├── TemplateError             a template does not parse or does not hold together  TEMPLATE_INVALID
├── JsonError                 a value has no JSON form, or a text is not JSON      JSON_INVALID
├── RequestError              a request that cannot be carried out
│   ├── InvalidRequest        wrong types, limits, schema violations               REQUEST_INVALID
│   ├── TemplateNotFound      no template of that namespace, name and version      TEMPLATE_NOT_FOUND
│   ├── TemplateUnavailable   its handlers are not installed or failed             TEMPLATE_UNAVAILABLE
│   ├── TaskExists            the identity is taken by another task                TASK_EXISTS
│   ├── TaskNotFound          no task of that uuid                                 TASK_NOT_FOUND
│   ├── StepNotFound          no step of that uuid or name                         STEP_NOT_FOUND
│   ├── DeadLetterNotFound    no dead letter of that uuid, or of that task         DEAD_LETTER_NOT_FOUND
│   ├── DeadLetterExists      the task has one that is pending                     DEAD_LETTER_EXISTS
│   ├── RelayNotFound         no relay of that name                                RELAY_NOT_FOUND
│   ├── RelayNotEmpty         events wait in it, or are dead, and would be lost    RELAY_NOT_EMPTY
│   └── IllegalMove           the state of a task or step does not allow it        MOVE_ILLEGAL
├── DatabaseError             the database cannot be used
│   ├── DatabaseUnavailable   not reachable, or the connection was lost            DATABASE_UNAVAILABLE
│   ├── DatabaseTooOld        PostgreSQL before 15                                 DATABASE_TOO_OLD
│   ├── SchemaMismatch        newer than this host, edited or not migrated         SCHEMA_MISMATCH
│   └── EmbeddedUnavailable   no embedded PostgreSQL can be started here           EMBEDDED_UNAVAILABLE
├── LeaseLost                 what a consumer held is somebody else's by now           LEASE_LOST
├── HostUnavailable           a client's host does not answer, or cannot now           HOST_UNAVAILABLE
├── AddressUnavailable        HTTP cannot be served at that address                ADDRESS_UNAVAILABLE
└── HandlerError              raised by handlers: the step failed
    ├── RetryableError        another attempt may succeed                          RETRYABLE
    │   └── StepTimeoutError · NetworkError · RateLimitError · ServiceUnavailableError · ResourceContentionError
    └── PermanentError        no further attempt can succeed                       PERMANENT
        ├── StepValidationError · NotFoundError · AuthenticationError · AuthorizationError · ConfigurationError
        ├── BusinessLogicError
        └── TargetGone        raised by relays: the target wants nothing any more  TARGET_GONE

`code` is stable and is what API clients and scripts compare. `str(error)` says what, where, what was found and what to
do.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, ClassVar


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: where it is (`file:line`, a key path, a JSON pointer) and what to do about it."""

    where: str
    message: str
    code: str = field(default="", compare=False)
    """What kind of problem it is, where problems have codes: in templates."""

    def __str__(self) -> str:
        return f"{self.where}: {self.message}" if self.where else self.message


class TaskerError(Exception):
    """Base of everything the host raises on purpose."""

    code: ClassVar[str] = "ERROR"


class ProblemsError(TaskerError):
    """An error that lists every problem found, not only the first."""

    def __init__(self, summary: str, problems: Iterable[Problem] = ()) -> None:
        self.summary = summary
        self.problems = tuple(problems)
        super().__init__("\n".join([summary, *(f"  {problem}" for problem in self.problems)]))


class ConfigError(ProblemsError):
    code = "CONFIG_INVALID"


class PluginError(ProblemsError):
    code = "PLUGIN_REQUIRED"


class TemplateError(ProblemsError):
    code = "TEMPLATE_INVALID"


class JsonError(TaskerError):
    """`path` is where in the value (`$.items[3].price`); empty when a text could not be read."""

    code = "JSON_INVALID"

    def __init__(self, message: str, path: str = "") -> None:
        self.message = message
        self.path = path
        super().__init__(f"{path}: {message}" if path else message)


class RequestError(ProblemsError):
    """A request that cannot be carried out; nothing was written."""

    code = "REQUEST_REFUSED"


class InvalidRequest(RequestError):
    code = "REQUEST_INVALID"


class TemplateNotFound(RequestError):
    code = "TEMPLATE_NOT_FOUND"


class TemplateUnavailable(RequestError):
    code = "TEMPLATE_UNAVAILABLE"


class TaskExists(RequestError):
    code = "TASK_EXISTS"


class TaskNotFound(RequestError):
    code = "TASK_NOT_FOUND"


class StepNotFound(RequestError):
    code = "STEP_NOT_FOUND"


class DeadLetterNotFound(RequestError):
    code = "DEAD_LETTER_NOT_FOUND"


class DeadLetterExists(RequestError):
    code = "DEAD_LETTER_EXISTS"


class RelayNotFound(RequestError):
    code = "RELAY_NOT_FOUND"


class RelayNotEmpty(RequestError):
    code = "RELAY_NOT_EMPTY"


class IllegalMove(RequestError):
    code = "MOVE_ILLEGAL"


class DatabaseError(TaskerError):
    code = "DATABASE_ERROR"


class DatabaseUnavailable(DatabaseError):
    """`retry_after_seconds`: for so long nothing is tried, where that is known."""

    code = "DATABASE_UNAVAILABLE"

    def __init__(self, message: str, *, retry_after_seconds: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class DatabaseTooOld(DatabaseError):
    code = "DATABASE_TOO_OLD"


class SchemaMismatch(DatabaseError):
    code = "SCHEMA_MISMATCH"


class EmbeddedUnavailable(DatabaseError):
    code = "EMBEDDED_UNAVAILABLE"


class LeaseLost(TaskerError):
    """A consumer's event is not its own any more. Nothing was changed."""

    code = "LEASE_LOST"


class HostUnavailable(TaskerError):
    """What was asked of it may have been done."""

    code = "HOST_UNAVAILABLE"


class AddressUnavailable(TaskerError):
    code = "ADDRESS_UNAVAILABLE"


class HandlerError(TaskerError):
    """Raised inside a handler; `retryable` decides whether the step is tried again.

    `retry_after` is in seconds and overrides the step's backoff. `error_type`, which a subclass may have as an
    attribute, `error_code` and `metadata` are kept with the attempt.
    """

    code = "HANDLER_ERROR"
    retryable: ClassVar[bool] = True
    error_type: str | None = None

    def __init__(
        self,
        message: str,
        *,
        error_code: str | None = None,
        retry_after: float | timedelta | str | None = None,
        metadata: Mapping[str, Any] | None = None,
        error_type: str | None = None,
    ) -> None:
        super().__init__(message)
        if error_type is not None:
            self.error_type = error_type
        self.error_code = error_code
        self.retry_after = retry_after
        self.metadata = dict(metadata or {})


class RetryableError(HandlerError):
    code = "RETRYABLE"


class PermanentError(HandlerError):
    code = "PERMANENT"
    retryable = False


class TargetGone(PermanentError):
    """Raised by a relay's `deliver`: nothing is delivered to this target until somebody resumes the relay."""

    code = "TARGET_GONE"


class StepTimeoutError(RetryableError):
    """What was called took too long."""

    error_type = "timeout"


class NetworkError(RetryableError):
    """What was called could not be reached, or broke the connection."""


class RateLimitError(RetryableError):
    """What was called asks for fewer calls; give it `retry_after` where it is known."""


class ServiceUnavailableError(RetryableError):
    """What was called cannot serve now."""


class ResourceContentionError(RetryableError):
    """Somebody else holds what is needed."""


class StepValidationError(PermanentError):
    """What the step was given is not valid."""

    error_type = "validation_error"


class NotFoundError(PermanentError):
    """What the step needs is not there, and will not be."""


class AuthenticationError(PermanentError):
    """Nobody knows who asks."""


class AuthorizationError(PermanentError):
    """Who asks may not."""


class ConfigurationError(PermanentError):
    """It is set up so that it cannot work."""


class BusinessLogicError(PermanentError):
    """The rules of the business forbid it."""
