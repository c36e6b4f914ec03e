"""Processes for handlers that say `runs_in="process"`: one call at a time in each, ended when a call overruns."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import threading
from typing import Any, Protocol

from tasker_host.domain.context import StepContext
from tasker_host.errors import RetryableError
from tasker_host.handlers.elsewhere import Answer
from tasker_host.worker.child import read_frame, write_frame
from tasker_host.worker.threads import Threads

END_SECONDS = 2.0
"""How long a process that is told to end may take."""


class Call(Protocol):
    """What is wanted of a `worker.elsewhere.StepCall`."""

    handler: str
    context: StepContext
    source: tuple[bytes, str, str] | None

    def began(self) -> None: ...


class _Process:
    """One process, and the handlers that it knows."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tasker_host.worker.child"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._stdin, self._stdout = self._process.stdin, self._process.stdout
        self._known: set[tuple[str, str]] = set()
        write_frame(self._stdin, sys.path)

    def call(self, call: Call) -> Answer:
        """Raises OSError, EOFError when the process ends meanwhile."""
        assert call.source is not None
        source, key = call.source[0], call.source[1:]
        write_frame(self._stdin, (key, None if key in self._known else source, call.context))
        answer: Answer = read_frame(self._stdout)
        self._known.add(key)
        return answer

    def end(self) -> str:
        """Ends it, if it has not; how it ended."""
        if self._process.poll() is None:
            self._process.terminate()
        try:
            code = self._process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        for stream in (self._stdin, self._stdout):
            with contextlib.suppress(OSError):
                stream.close()
        return f"signal {-code}" if code < 0 else f"exit code {code}"


class _Job:
    """One call, made in whatever thread calls `run`."""

    def __init__(self, processes: Processes, call: Call) -> None:
        self._processes = processes
        self._call = call
        self._process: _Process | None = None
        self._stopped = False
        self._mutex = threading.Lock()

    def run(self) -> Answer:
        """Its answer; that is RetryableError when its process ended."""
        process = self._processes.take()
        with self._mutex:
            if self._stopped:
                self._processes.give_back(process)
                return "raised", RetryableError("stopped before it began")
            self._process = process
        self._call.began()
        try:
            answer = process.call(self._call)
        except (OSError, EOFError):
            what = f"the process in which handler {self._call.handler!r} ran ended with {process.end()}"
            return "raised", RetryableError(what, error_code="PROCESS_DIED")
        finally:
            with self._mutex:
                self._process = None
        self._processes.give_back(process)
        return answer

    def settled(self, future: asyncio.Future[Any]) -> None:
        """When nobody waits for it any more, the process in which it runs is ended; another takes its place."""
        if not future.cancelled():
            return
        with self._mutex:
            self._stopped = True
            process = self._process
        if process is not None:
            # Waiting for the end of a process would hold up everything else on the loop.
            threading.Thread(target=process.end, name="tasker-end-process", daemon=True).start()


class Processes:
    """At most `size` at work; idle ones are kept for the next calls."""

    def __init__(self, size: int) -> None:
        self._idle: list[_Process] = []
        self._mutex = threading.Lock()
        self._closed = False
        self._threads = Threads(size, name="tasker-process")

    def submit(self, call: Call) -> asyncio.Future[Any]:
        """Makes the call in a process; cancelling the future ends that process."""
        job = _Job(self, call)
        # A thread waits for the process, and ends with it.
        future = self._threads.submit(job.run)
        future.add_done_callback(job.settled)
        return future

    def take(self) -> _Process:
        with self._mutex:
            if self._idle:
                return self._idle.pop()
        return _Process()

    def give_back(self, process: _Process) -> None:
        with self._mutex:
            if not self._closed:
                self._idle.append(process)
                return
        process.end()

    def close(self) -> None:
        self._threads.close()
        with self._mutex:
            self._closed = True
            idle, self._idle = self._idle, []
        for process in idle:
            process.end()
