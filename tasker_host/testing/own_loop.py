"""Async work for callers that may or may not be on an event loop themselves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

Result = TypeVar("Result")


def in_own_loop(work: Callable[[], Coroutine[Any, Any, Result]]) -> Result:
    """Runs `work` to its end on a loop of its own; in a thread where the caller's thread has a running one."""
    if not _is_running():
        return asyncio.run(work())
    with ThreadPoolExecutor(1, thread_name_prefix="tasker-test") as threads:
        return threads.submit(lambda: asyncio.run(work())).result()


def _is_running() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
