"""What commands that do something share: an event loop, signals, logs."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Coroutine
from typing import Any, TypeVar

from tasker_host.config import Config
from tasker_host.runtime.logs import configure_logs

Result = TypeVar("Result")

_LEVELS = ("debug", "info", "warning", "error")


def run_async(work: Coroutine[Any, Any, Result]) -> Result:
    """Runs `work` to its end. SIGINT and SIGTERM cancel it, so that it can clean up; KeyboardInterrupt then."""

    async def cancelled_by_sigterm() -> Result:
        task = asyncio.current_task()
        assert task is not None
        if sys.platform != "win32":
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        try:
            return await work
        except asyncio.CancelledError:
            raise KeyboardInterrupt from None

    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(cancelled_by_sigterm())


def quiet_logs(config: Config) -> None:
    """Logs of a command whose output is its answer: warnings and errors only, unless more was not asked for anyway."""
    level = config.settings.telemetry.log_level.value
    configure_logs(max(level, "warning", key=_LEVELS.index), config.settings.telemetry.log_format.value)


def _loop_factory() -> Any:
    if sys.platform == "win32":
        return None
    import uvloop

    return uvloop.new_event_loop
