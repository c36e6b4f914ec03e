"""What hooks return."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from tasker_host.domain.context import StepContext
from tasker_host.domain.event import DomainEvent
from tasker_host.domain.result import StepResult
from tasker_host.domain.template import EventDeclaration, HandlerDefinition

RunsIn = str
"""`loop`, or the name of an executor: `thread` and `process` are the host's, others come from plugins."""

NAMES, CLASSES = "explicit_mapping", "class_lookup"
"""The host's own resolvers: registered names, and paths of code."""
NAMES_PRIORITY, PATHS_PRIORITY = 10, 100

Next = Callable[[], Awaitable[StepResult]]


@dataclass(frozen=True, slots=True)
class Handler:
    """`call` under the name that templates write in `handler.callable`; for what cannot be decorated.
    `aliases` are further such names.

    `call` is a function, sync or async; its parameters are injected like those of a `step_handler` function.
    Exceptions of the types in `retry_on` are tried again. `runs_in` is "loop" for async functions; others run in a
    "thread", on the "loop" when they say so because they never wait, in a "process" of their own when they compute for
    long, or may hang, or in the executor of that name that a plugin gives.
    """

    name: str
    call: Callable[..., Any]
    version: str = field(default="1.0.0", kw_only=True)
    retry_on: tuple[type[BaseException], ...] = field(default=(), kw_only=True)
    runs_in: RunsIn | None = field(default=None, kw_only=True)
    aliases: tuple[str, ...] = field(default=(), kw_only=True)


class Call(Protocol):
    """One call of a handler, as an executor is given it.

    `call()` makes it, in whatever thread or process, once, and never raises: what it returns is for the host only.
    `handler` is its name, `context` the `StepContext`, `timeout_seconds` how long it may run. `began()` tells that it
    begins, and its time with it, for executors that say `tells_began`; to be called in this process.
    """

    @property
    def handler(self) -> str: ...

    @property
    def context(self) -> StepContext: ...

    @property
    def timeout_seconds(self) -> float: ...

    def began(self) -> None: ...

    def __call__(self) -> Any: ...


@dataclass(frozen=True, slots=True)
class Executor:
    """Where handlers run that say `runs_in="<name>"`.

    `submit(call)` has `call()` made somewhere and returns at once: a `concurrent.futures.Future`, or something to
    await, of what it returned. It is called on the event loop. When the step is stopped, by its timeout for instance,
    that future is cancelled, and what is still running is nobody's any more.

    `is_remote`: the call leaves this process, as a pickle; so its handler must be a function or class at the top of a
    module that can be imported there, with settings that can be pickled. With false it is made here, in some other
    thread. The time of a remote call runs from `submit` on; with `tells_began`, from `call.began()` on.
    """

    name: str
    submit: Callable[[Any], Any]
    is_remote: bool = field(default=True, kw_only=True)
    tells_began: bool = field(default=False, kw_only=True)


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
class Resolver:
    """Finds handlers that templates name in a way of its own, like `service://billing/charge`.

    `resolve(definition)` is given the `handler` of a step: `callable`, `method`, `resolver`, `initialization`. It
    returns a handler (whatever `tasker_handlers` may give, or a plain function), or None: another may know it. Lower
    `priority` is asked first, after registered names (10) and before paths of code (100). A template asks only this one
    with `handler.resolver: <name>`.
    """

    name: str
    resolve: Callable[[HandlerDefinition], Any]
    priority: int = field(default=50, kw_only=True)


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


@dataclass(frozen=True, slots=True)
class Publisher:
    """What an event says: templates name it in `publishes_events[].publisher`.

    `build(step, result, event)`, sync or async, returns the payload, or None when this event is not to be published.
    `step` is the `StepContext`, `result` what it came to (`Succeeded` or `Failed`), `event` the declaration of the
    template. It is called on the event loop, before the result is reported: a sync one must not wait for anything.
    """

    name: str
    build: Callable[[StepContext, StepResult, EventDeclaration], Any]


@dataclass(frozen=True, slots=True)
class Subscriber:
    """Who hears fast events in this process: those whose names match one of the patterns in `events`.

    `receive(event)`, sync (called in a thread of the subscriber's own) or async, is given one `DomainEvent` after the
    other, in their order. When it falls more than `queue_size` events behind, the oldest are dropped and counted.
    Where hosts share their events (`events.share.enabled`) it hears those of all of them, unless it is `own_only`.
    """

    name: str
    events: Sequence[str]
    receive: Callable[[DomainEvent], Any]
    queue_size: int = field(default=1000, kw_only=True)
    own_only: bool = field(default=False, kw_only=True)
