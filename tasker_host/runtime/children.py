"""More processes of the same kind: started with this one, started again when they die, ended with it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import structlog

log = structlog.get_logger("tasker.runtime")

RESTART_SECONDS = 1.0


@dataclass(slots=True, eq=False)
class _Child:
    number: int
    is_leaving: bool = False
    process: asyncio.subprocess.Process | None = None
    keeper: asyncio.Task[None] | None = None

    def end(self) -> None:
        """As SIGTERM does; a second time: at once."""
        self.is_leaving = True
        if self.process is not None and self.process.returncode is None:
            self.process.terminate()

    def kill(self) -> None:
        if self.process is not None and self.process.returncode is None:
            log.warning("process did not end in time, killed", pid=self.process.pid)
            self.process.kill()


class Children:
    """Runs `python -m tasker_host <arguments>` as often as is asked for, each with an environment of its own.

    `environment` gives what differs from ours, by the number of the child: 2 and up, we are the first. Each child has a
    pipe from us as its stdin: it ends when we do, however we end. One that is to end and has not after `grace_seconds`
    is killed.
    """

    def __init__(
        self, arguments: Sequence[str], environment: Callable[[int], Mapping[str, str]], *, grace_seconds: float
    ) -> None:
        self._arguments = arguments
        self._environment = environment
        self._grace_seconds = grace_seconds
        self._staying: list[_Child] = []
        self._leaving: set[_Child] = set()
        self._stopping = False

    def __len__(self) -> int:
        """Those that are to run, whether or not they do just now."""
        return len(self._staying)

    def pids(self) -> list[int]:
        """Of those that are to run, and do."""
        processes = [child.process for child in self._staying]
        return [process.pid for process in processes if process is not None and process.returncode is None]

    def scale(self, count: int) -> None:
        """Starts or ends some, the last ones first, until there are `count`; those that end finish what they run."""
        if self._stopping:
            return
        while len(self._staying) < count:
            number = next(n for n in range(2, count + 2) if n not in {child.number for child in self._staying})
            child = _Child(number)
            child.keeper = asyncio.create_task(self._keep(child), name=f"tasker-process-{number}")
            self._staying.append(child)
        while len(self._staying) > count:
            self._leave(self._staying.pop())

    def stop(self) -> None:
        """Asks all to end, as SIGTERM does; a second time: at once."""
        self._stopping = True
        for child in (*self._staying, *self._leaving):
            child.end()

    async def ended(self) -> None:
        """Asks all to end, and returns when they have."""
        self.stop()
        everyone = [*self._staying, *self._leaving]
        keepers = [child.keeper for child in everyone if child.keeper is not None]
        if not keepers:
            return
        _, slow = await asyncio.wait(keepers, timeout=self._grace_seconds)
        for child in everyone if slow else ():
            child.kill()
        await asyncio.gather(*keepers, return_exceptions=True)

    def _leave(self, child: _Child) -> None:
        child.end()
        assert child.keeper is not None
        self._leaving.add(child)
        timer = asyncio.get_running_loop().call_later(self._grace_seconds, child.kill)

        def gone(_: asyncio.Task[None]) -> None:
            timer.cancel()
            self._leaving.discard(child)

        child.keeper.add_done_callback(gone)

    @staticmethod
    def _is_leaving(child: _Child) -> bool:
        return child.is_leaving

    async def _keep(self, child: _Child) -> None:
        while not self._is_leaving(child):
            process = child.process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "tasker_host",
                *self._arguments,
                stdin=asyncio.subprocess.PIPE,
                env={**os.environ, **self._environment(child.number)},
            )
            if self._is_leaving(child):  # told so while it was being started
                process.terminate()
            code = await process.wait()
            if not self._is_leaving(child):
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
