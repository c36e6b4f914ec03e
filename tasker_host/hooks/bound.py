"""What a handler becomes when it is registered."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

from pydantic import BaseModel

from tasker_host.domain.context import StepContext
from tasker_host.domain.template import TaskTemplate
from tasker_host.hooks.records import RunsIn

Kind = Literal["step", "decision", "batch_analyzer", "batch_worker", "api"]
"""What the handler was declared to be."""


class BindError(Exception):
    """A handler, or a method of one, that cannot be called with what steps have. `problems` says everything wrong."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


@dataclass(frozen=True, slots=True)
class Injected:
    """What one parameter of a handler is given.

    `key` is the field of the task's context ("" for the whole of it), or the name of the step whose value it is.
    """

    parameter: str
    source: Literal["context", "settings", "input", "step", "batch", "checkpoint", "api"]
    key: str = ""
    type: str = ""
    required: bool = True
    kind: Any = field(default=None, repr=False, compare=False)
    """The type itself, where values are checked against one."""

    def __str__(self) -> str:
        """`quote: Quote ← value of step price_order`"""
        match self.source:
            case "input":
                what = f"input {self.key}" if self.key else "the whole input"
            case "step":
                what = f"value of step {self.key}"
            case source:
                what = source
        kind = f": {self.type}" if self.type else ""
        return f"{self.parameter}{kind} ← {what}{'' if self.required else ' (optional)'}"


@dataclass(frozen=True, slots=True)
class BoundHandler:
    """A handler, ready to be called with nothing but the context of a step.

    `call` returns a value or a StepResult, or an awaitable of one if `is_async`; or it raises. `path` is where its code
    is: `package.module.Class` or `package.module.function`.
    """

    name: str
    version: str
    plugin: str
    is_async: bool
    runs_in: RunsIn
    call: Callable[[StepContext], Any] = field(repr=False)
    retry_on: tuple[type[BaseException], ...] = ()
    injected: tuple[Injected, ...] = ()
    path: str = ""
    is_class: bool = False
    method: str = "call"
    _for_method: Callable[[str], BoundHandler] | None = field(default=None, repr=False, compare=False)
    returns: Any = None
    """The type that its values must fit, by its annotation; None when it says nothing that can be checked."""
    source: bytes | None = field(default=None, repr=False, compare=False)
    """Of one that runs in an executor other than threads: what it is bound from elsewhere, pickled."""
    not_sent: str = field(default="", repr=False, compare=False)
    """Why there is no `source` where there should be."""
    worker_template: str | None = None
    """Of an analyzer: the batch_worker step that it said on its own."""
    kind: Kind = "step"
    alias_of: str = ""
    """The handler's own name, where this is another one of it."""
    config_schema: Mapping[str, Any] | None = field(default=None, repr=False, compare=False)
    """What `handler.initialization` must fit."""
    close: Callable[[], Any] | None = field(default=None, repr=False, compare=False)
    """Called when the host stops; what it returns may be awaitable."""

    def for_method(self, method: str | None) -> BoundHandler:
        """The handler that calls `method` of the same object. Raises BindError when it has no such method."""
        if method is None or method == self.method:
            return self
        if self._for_method is None:
            raise BindError(
                [f"handler '{self.name}' ({self.path}) is a function and has no method '{method}'; remove 'method'"]
            )
        return self._for_method(method)


@runtime_checkable
class Buildable(Protocol):
    """What a template is made from in code: `tasker_host.workflow(…)`."""

    def build(self) -> TaskTemplate:
        """Raises TemplateError."""


class Bind(Protocol):
    """`tasker_host.handlers.bound.bind`, for rooms that do not know how handlers are written."""

    def __call__(self, given: object, *, plugin: str, settings: BaseModel | None) -> list[BoundHandler]: ...
