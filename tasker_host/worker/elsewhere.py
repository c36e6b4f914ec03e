"""Handlers that run in an executor: the call that it is given, and what is made of its answer."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from functools import partial
from typing import Any

from tasker_host.domain.context import StepContext
from tasker_host.domain.result import Failed
from tasker_host.errors import PermanentError, RetryableError
from tasker_host.handlers.elsewhere import Answer, answer_from, made
from tasker_host.hooks.records import Executor
from tasker_host.registry.plan import StepPlan


class StepCall:
    """One call of a handler; see `hooks.records.Call`. `on_began` is called when it begins, in whatever thread."""

    __slots__ = ("_make", "context", "handler", "has_begun", "on_began", "source", "timeout_seconds")

    def __init__(self, plan: StepPlan, context: StepContext, executor: Executor, on_began: Callable[[], None]) -> None:
        handler = plan.handler
        self.handler = handler.name
        self.context = context
        self.timeout_seconds = plan.timeout_seconds
        self.has_begun = False
        self.on_began = on_began
        self.source: tuple[bytes, str, str] | None = None
        self._make: Callable[[], Answer]
        if executor.is_remote:
            if handler.source is None:
                raise PermanentError(f"handler {handler.name!r} cannot run in {executor.name!r}: {handler.not_sent}")
            self.context = replace(context, _transactions=None)
            self.source = (handler.source, handler.name, handler.method)
            self._make = partial(answer_from, *self.source, self.context)
        else:
            self._make = partial(made, plan.call, context)

    def __call__(self) -> Answer:
        self.began()
        return self._make()

    def began(self) -> None:
        self.has_begun = True
        self.on_began()

    def __reduce__(self) -> tuple[Any, ...]:
        if self.source is None:
            raise TypeError(f"the call of {self.handler!r} is for this process: its executor says is_remote=False")
        # There, nobody waits for `began`.
        return partial, (answer_from, *self.source, self.context)


async def called(executor: Executor, call: StepCall, is_stopped: Callable[[], bool]) -> Any:
    """What the handler returned, or a `Failed`; raises what the handler raised.

    What the executor does instead of calling it is RetryableError: another attempt may find it in a better state.
    """
    try:
        answer = await _awaitable(executor.submit(call))
        if not (isinstance(answer, tuple) and len(answer) == 2 and answer[0] in ("value", "raised", "failed")):
            raise TypeError(f"it gave {answer!r:.80}, which is not what call() returned")
        kind, what = answer
    except asyncio.CancelledError:
        if is_stopped():
            raise
        raise _not_run(executor, call, "it cancelled the call") from None
    except Exception as error:
        raise _not_run(executor, call, f"{type(error).__name__}: {error}") from error
    if kind == "value":
        return what
    if kind == "failed":
        assert isinstance(what, Failed)
        return what
    if isinstance(what, StopIteration):
        # A coroutine cannot raise it; for a handler it is an error like any other.
        raise RuntimeError(f"the handler raised StopIteration({what.value!r})")
    raise what


def _awaitable(submitted: Any) -> Any:
    if isinstance(submitted, Future):
        return asyncio.wrap_future(submitted)
    if inspect.isawaitable(submitted):
        return submitted
    raise TypeError(f"submit returned {submitted!r:.80}; it must return a future, or something to await")


def _not_run(executor: Executor, call: StepCall, why: str) -> RetryableError:
    message = f"executor {executor.name!r} did not run handler {call.handler!r}: {why}"
    return RetryableError(message, error_code="EXECUTOR_FAILED")
