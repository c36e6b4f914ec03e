"""Threads for handlers written without async.

Not a ThreadPoolExecutor: that one joins its threads when the process ends, so a single handler that hangs would keep
the process alive, and it cannot replace a thread that will never come back.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from contextvars import Context, copy_context
from dataclasses import dataclass
from functools import partial
from queue import SimpleQueue
from typing import Any


@dataclass(slots=True, eq=False)
class _Call:
    """One call in a thread; `future` has what it returned or raised."""

    future: asyncio.Future[Any]
    function: Callable[[], Any]
    context: Context
    started: bool = False
    ended: bool = False
    abandoned: bool = False


class Threads:
    """At most `size` daemon threads, started when first needed. Everything but the calls runs on the event loop."""

    def __init__(self, size: int, *, name: str) -> None:
        self._size = size
        self._name = name
        self._count = 0
        self._made = 0
        self._calls: SimpleQueue[_Call | None] = SimpleQueue()
        self._idle = threading.Semaphore(0)
        self._mutex = threading.Lock()

    def submit(self, function: Callable[[], Any]) -> asyncio.Future[Any]:
        """Runs `function` in a thread, in a copy of the caller's context variables.

        When the future is cancelled, another thread may take the place of the one in which the function is running: a
        thread cannot be stopped, so it ends when its call does. A call that has not begun is never made then.
        """
        loop = asyncio.get_running_loop()
        call = _Call(loop.create_future(), function, copy_context())
        call.future.add_done_callback(partial(self._settled, call))
        self._calls.put(call)
        if not self._idle.acquire(blocking=False):
            with self._mutex:
                if self._count < self._size:
                    self._count += 1
                    self._made += 1
                    name = f"{self._name}-{self._made}"
                    threading.Thread(target=self._run, args=(loop,), name=name, daemon=True).start()
        return call.future

    def _settled(self, call: _Call, future: asyncio.Future[Any]) -> None:
        if not future.cancelled():
            return
        with self._mutex:
            if call.started and not call.ended:
                call.abandoned = True
                self._size += 1

    def close(self) -> None:
        """Threads end after the call they are in."""
        with self._mutex:
            for _ in range(self._count):
                self._calls.put(None)

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        while True:
            if self._calls.empty():
                self._idle.release()
            call = self._calls.get()
            if call is None:
                return
            with self._mutex:
                if call.future.cancelled():
                    continue
                call.started = True
            value: Any = None
            error: BaseException | None = None
            try:
                value = call.context.run(call.function)
            except BaseException as raised:
                error = raised
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits
                loop.call_soon_threadsafe(_settle, call.future, value, error)
            with self._mutex:
                call.ended = True
                if call.abandoned:
                    self._size -= 1
                    self._count -= 1
                    return


def _settle(future: asyncio.Future[Any], value: Any, error: BaseException | None) -> None:
    if future.done():
        return
    if isinstance(error, StopIteration):
        # A future refuses it; for a handler it is an error like any other.
        future.set_exception(RuntimeError(f"the handler raised StopIteration({error.value!r})"))
    elif error is not None:
        future.set_exception(error)
    else:
        future.set_result(value)
