"""More processes of the same kind: started with this one, started again when they die, ended with it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import sys
import threading
from collections.abc import Callable, Mapping, Sequence

import structlog

log = structlog.get_logger("tasker.runtime")

RESTART_SECONDS = 1.0


class Children:
    """Runs `python -m tasker_host <arguments>` for each of `environments` (what differs from ours).

    Each child has a pipe from us as its stdin: it ends when we do, however we end.
    """

    def __init__(self, arguments: Sequence[str], environments: Sequence[Mapping[str, str]]) -> None:
        self._arguments = arguments
        self._environments = environments
        self._processes: dict[int, asyncio.subprocess.Process] = {}
        self._keepers: list[asyncio.Task[None]] = []
        self._stopping = False

    def start(self) -> None:
        for number, environment in enumerate(self._environments, start=2):
            keeper = asyncio.create_task(self._keep(number, environment), name=f"tasker-process-{number}")
            self._keepers.append(keeper)

    def pids(self) -> list[int]:
        return [process.pid for process in self._processes.values()]

    def stop(self) -> None:
        """Asks all to end, as SIGTERM does; a second time: at once."""
        for process in self._processes.values():
            if process.returncode is None:
                process.terminate()
        self._stopping = True

    async def ended(self, *, grace_seconds: float) -> None:
        """Returns when all have ended; those that have not after `grace_seconds` are killed."""
        self.stop()
        if not self._keepers:
            return
        _, slow = await asyncio.wait(self._keepers, timeout=grace_seconds)
        for process in self._processes.values() if slow else ():
            if process.returncode is None:
                log.warning("process did not end in time, killed", pid=process.pid)
                process.kill()
        await asyncio.gather(*self._keepers, return_exceptions=True)

    async def _keep(self, number: int, environment: Mapping[str, str]) -> None:
        while not self._stopping:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "tasker_host",
                *self._arguments,
                stdin=asyncio.subprocess.PIPE,
                env={**os.environ, **environment},
            )
            self._processes[number] = process
            code = await process.wait()
            if not self._stopping:
                log.error("process ended, starting another", pid=process.pid, exit_code=code)
                await asyncio.sleep(RESTART_SECONDS * random.uniform(0.75, 1.25))  # noqa: S311 - jitter, not a secret


def when_parent_ends(call: Callable[[], None]) -> None:
    """In a child: `call`, on the event loop, when the pipe from the parent closes."""
    loop = asyncio.get_running_loop()

    def wait() -> None:
        while os.read(0, 1024):
            pass
        with contextlib.suppress(RuntimeError):  # the loop is closed: we end anyway
            loop.call_soon_threadsafe(call)

    threading.Thread(target=wait, name="tasker-parent", daemon=True).start()
