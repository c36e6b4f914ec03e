"""Class style: a handler with methods."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from tasker_host.domain.context import StepContext
from tasker_host.domain.result import Failed, Succeeded
from tasker_host.hooks.records import RunsIn

Call = Callable[[StepContext], Any]


class StepHandler(ABC):
    """A handler as a class; `call` may be sync or async.

    One instance serves all steps, several at the same time: what belongs to one step stays in local variables. A
    parameter of `__init__` annotated with the plugin's settings model is given the settings. Steps whose template says
    `handler.method` call that method instead of `call`. Parameters of both are injected like those of functions.
    """

    handler_name: ClassVar[str] = ""
    """What templates write in `handler.callable`; the name of the class when empty."""
    handler_version: ClassVar[str] = "1.0.0"
    handler_aliases: ClassVar[tuple[str, ...]] = ()
    """Further names, of templates that were written before it was renamed."""
    retry_on: ClassVar[tuple[type[BaseException], ...]] = ()
    """Exceptions of these types are tried again, whatever they are."""
    runs_in: ClassVar[RunsIn | None] = None
    """See `step_handler`."""
    capabilities: ClassVar[tuple[str, ...]] = ("process",)
    """What it can do, for readers."""

    @abstractmethod
    def call(self, context: StepContext) -> Any:
        """Do the step's work; the value is handed to dependents in exactly its shape. A raise is the step's failure."""

    @property
    def name(self) -> str:
        return self.handler_name or type(self).__name__

    @property
    def version(self) -> str:
        return self.handler_version

    def config_schema(self) -> Mapping[str, Any] | None:
        """The JSON Schema of `handler.initialization`; a template that breaks it is unavailable. None: anything."""
        return None

    def close(self) -> Any:  # noqa: B027 - most have nothing to close
        """Called when the host stops, after the last step; may be async."""

    def success(self, result: Any = None, metadata: Mapping[str, Any] | None = None) -> Succeeded:
        """What to return for success with metadata; without metadata, returning the value itself does the same."""
        return Succeeded(result, metadata or {})

    def failure(
        self,
        message: str,
        error_type: str = "handler_error",
        retryable: bool = True,
        metadata: Mapping[str, Any] | None = None,
        error_code: str | None = None,
        *,
        retry_after_seconds: float | None = None,
    ) -> Failed:
        """What to return for a failure without raising. `retry_after_seconds` overrides the step's backoff."""
        return Failed(
            message,
            error_type,
            retryable,
            retry_after_seconds,
            error_code,
            metadata or {},
        )

    def _around(self, call: Call, *, is_async: bool, runs_in: RunsIn) -> Call:  # noqa: ARG002 - for those that need it
        """What is called in place of `call`, by handlers that prepare something for every step. Raises BindError."""
        return call
