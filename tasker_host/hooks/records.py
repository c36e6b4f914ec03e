"""What hooks return."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from tasker_host.domain.context import StepContext
from tasker_host.domain.result import StepResult

RunsIn = Literal["loop", "thread", "process"]

Next = Callable[[], Awaitable[StepResult]]


@dataclass(frozen=True, slots=True)
class Handler:
    """`call` under the name that templates write in `handler.callable`; for what cannot be decorated.

    `call` is a function, sync or async; its parameters are injected like those of a `step_handler` function.
    Exceptions of the types in `retry_on` are tried again. `runs_in` is "loop" for async functions; others run in a
    "thread", on the "loop" when they say so because they never wait, or in a "process" of their own when they compute
    for long, or may hang.
    """

    name: str
    call: Callable[..., Any]
    version: str = field(default="1.0.0", kw_only=True)
    retry_on: tuple[type[BaseException], ...] = field(default=(), kw_only=True)
    runs_in: RunsIn | None = field(default=None, kw_only=True)


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """Whether something that the plugin needs is well; shown by `/health` under `name`.

    `check()`, sync (called in a thread) or async, returns None, True or a text to show when all is well, and False or
    raises when it is not; so is a check that takes longer than two seconds. While one that is `critical` is unhealthy
    the host is not ready (503); one that is not makes it degraded.
    """

    name: str
    check: Callable[[], Any]
    critical: bool = field(default=False, kw_only=True)


@dataclass(frozen=True, slots=True)
class Middleware:
    """`async around(step, call_next)` returns the result of the step: that of `await call_next()`, or another.

    `step` is the `StepContext`; the result is `Succeeded` or `Failed`, never an exception. A middleware of lower
    `order` is outside one of higher order.
    """

    name: str
    around: Callable[[StepContext, Next], Awaitable[StepResult]]
    order: int = field(default=0, kw_only=True)


@dataclass(frozen=True, slots=True)
class Classifier:
    """Whether a step that failed with `error_type` (or a subclass) is tried again.

    `delay_seconds` is how long to wait before that; None: what the step's backoff says.
    """

    error_type: type[BaseException]
    retryable: bool
    delay_seconds: float | None = field(default=None, kw_only=True)
