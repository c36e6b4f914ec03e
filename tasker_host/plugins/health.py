"""Health checks of plugins: what they must be, and how the host makes them."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from tasker_host.hooks.records import HealthCheck
from tasker_host.plugins.collect import Collector, shown
from tasker_host.plugins.fault import told
from tasker_host.runtime.health import Check, Finding, Status


def health_checks(collector: Collector) -> tuple[HealthCheck, ...]:
    """What `tasker_health` gives, checked."""
    hook = "tasker_health"
    found: list[Any] = collector.records(hook, HealthCheck)
    for item in found:
        what = f"health check {item.name!r}"
        collector.check_name(hook, "a health check", item.name)
        if not callable(item.check):
            collector.refuse(hook, f"{what}: check must be a function (got {shown(item.check)})")
        if not isinstance(item.critical, bool):
            collector.refuse(hook, f"{what}: critical must be True or False (got {item.critical!r})")
    return collector.unique(hook, "health checks", found, lambda item: item.name)


def check_of(given: HealthCheck) -> Check:
    """The check as one that finds something."""
    call = given.check
    called = getattr(type(call), "__call__", None)  # noqa: B004 - an object that is called like a function
    is_async = inspect.iscoroutinefunction(call) or inspect.iscoroutinefunction(called)
    ask: Callable[[], Awaitable[Any]] = call if is_async else _InThread(call, given.name)

    async def check() -> Finding:
        try:
            found = await ask()
            # Of a plain function around an async one.
            return _finding(await found if inspect.isawaitable(found) else found)
        except (Exception, SystemExit) as error:  # a plugin's code: whatever it raises is what it found
            return Finding(Status.UNHEALTHY, told(error))

    return check


def _finding(found: Any) -> Finding:
    match found:
        case None | True:
            return Finding()
        case str():
            return Finding(message=found)
        case False:
            return Finding(Status.UNHEALTHY, "the check says so")
        case _:
            return Finding(Status.UNHEALTHY, f"it returned {found!r:.80}; it must return None, True, False or text")


class _InThread:
    """Calls a function that may block in a thread of its own, and not again before it has returned.

    The thread cannot be stopped; being a daemon, it does not keep the process either.
    """

    def __init__(self, function: Callable[[], Any], name: str) -> None:
        self._function = function
        self._name = name
        self._running: asyncio.Future[Any] | None = None

    async def __call__(self) -> Any:
        if self._running is None or self._running.done():
            self._running = asyncio.get_running_loop().create_future()
            thread = threading.Thread(
                target=self._run, args=(self._running,), name=f"tasker-health-{self._name}", daemon=True
            )
            thread.start()
        # Shielded: who asks may give up, and the next one waits for the same answer.
        return await asyncio.shield(self._running)

    def _run(self, future: asyncio.Future[Any]) -> None:
        value: Any = None
        error: BaseException | None = None
        try:
            value = self._function()
        except BaseException as raised:
            error = raised
        with suppress(RuntimeError):  # the loop is closed: nobody waits
            future.get_loop().call_soon_threadsafe(_settle, future, value, error)


def _settle(future: asyncio.Future[Any], value: Any, error: BaseException | None) -> None:
    if future.cancelled():
        return
    if error is None:
        future.set_result(value)
        return
    # A future refuses StopIteration, and SystemExit would end the loop: for a check they are errors like any other.
    is_plain = isinstance(error, Exception) and not isinstance(error, StopIteration)
    future.set_exception(error if is_plain else RuntimeError(f"{type(error).__name__}: {error}"))
    future.exception()  # marked as seen: everybody may have given up by now
