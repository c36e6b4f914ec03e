"""One call of a handler, made where the handler is not: in another thread, process or machine.

What came of it is an `Answer` and never an exception, so nothing on the way can take the one for the other.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import pickle
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, Literal

from tasker_host.domain.context import StepContext
from tasker_host.handlers.bound import bind
from tasker_host.handlers.classify import failed
from tasker_host.hooks.bound import BoundHandler

Answer = tuple[Literal["value", "raised", "failed"], Any]
"""("value", what it returned), ("raised", its exception) or, when that cannot be sent, ("failed", Failed)."""


def made(call: Callable[[StepContext], Any], context: StepContext) -> Answer:
    """Calls a handler; an async one in an event loop of its own."""
    try:
        value = call(context)
        if inspect.isawaitable(value):
            value = _run(value)
    except BaseException as error:
        return "raised", error
    return "value", value


def sendable(handler: BoundHandler, answer: Answer) -> Answer:
    """The answer, or what can be sent in its place."""
    try:
        pickle.loads(pickle.dumps(answer))  # noqa: S301 - an exception may be written and yet not be read again
    except Exception as error:
        kind, what = answer
        failure = failed(what if kind == "raised" else error, handler, ())
        # Its text is always text; what else it carries may be what could not be sent.
        return "failed", replace(failure, metadata={key: repr(value) for key, value in failure.metadata.items()})
    return answer


def bound_from(source: bytes, name: str, method: str) -> BoundHandler:
    """The handler that `BoundHandler.source` was made of, bound here."""
    given, plugin, settings = pickle.loads(source)  # noqa: S301 - from a worker, over a channel of its own
    (handler,) = [bound for bound in bind(given, plugin=plugin, settings=settings) if bound.name == name]
    return handler.for_method(method)


_bound_once = functools.lru_cache(maxsize=256)(bound_from)


def answer_from(source: bytes, name: str, method: str, context: StepContext) -> Answer:
    """Binds the handler, once in each process, and calls it. This is what is sent to other machines."""
    try:
        handler = _bound_once(source, name, method)
    except Exception as error:
        return "raised", RuntimeError(f"handler {name!r} cannot be made here: {type(error).__name__}: {error}")
    return sendable(handler, made(handler.call, context))


def _run(work: Awaitable[Any]) -> Any:
    """In an event loop of its own; where this thread has one that runs already, in another thread."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(_awaited(work))
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, _awaited(work)).result()


async def _awaited(work: Awaitable[Any]) -> Any:
    return await work
