"""Processes for handlers that say `runs_in="process"`: one call at a time in each, ended when a call overruns."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import threading
from typing import Any, Protocol

from tasker_host.domain.context import StepContext
from tasker_host.errors import RetryableError
from tasker_host.handlers.elsewhere import Answer
from tasker_host.worker.child import read_frame, write_frame
from tasker_host.worker.threads import Threads

_SIGKILL = getattr(signal, "SIGKILL", signal.SIGTERM)

END_SECONDS = 2.0
"""How long a process that is told to end may take."""

START_SECONDS = 60.0
"""How long a process may take to start and to import a handler; only then the time of the handler begins."""


class Call(Protocol):
    """What is wanted of a `worker.elsewhere.StepCall`."""

    handler: str
    context: StepContext
    source: tuple[bytes, str, str] | None

    def began(self) -> None: ...


class _Process:
    """One process, and the handlers that it knows."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "tasker_host.worker.child"]
        self._life: int | None = None
        if sys.platform == "win32":
            self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # noqa: S603
        else:
            # A pipe that closes with us, however we end, and a group of its own: what Ctrl-C sends to ours is for us to
            # judge, and what its handler has started ends with it.
            theirs, self._life = os.pipe()
            try:
                self._process = subprocess.Popen(  # noqa: S603 - our own module
                    [*command, str(theirs)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    pass_fds=(theirs,),
                    start_new_session=True,
                )
            finally:
                os.close(theirs)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._stdin, self._stdout = self._process.stdin, self._process.stdout
        self._known: set[tuple[str, str]] = set()
        self._ending = threading.Lock()
        write_frame(self._stdin, sys.path)

    def call(self, call: Call) -> Answer:
        """Raises OSError, EOFError when the process ends meanwhile."""
        assert call.source is not None
        source, key = call.source[0], call.source[1:]
        if key in self._known:
            answer = self._sent(key, None, call)
        else:
            late = threading.Timer(START_SECONDS, self.end)
            late.daemon = True
            late.start()
            try:
                answer = self._sent(key, source, call)
            finally:
                late.cancel()
        if answer is not None:
            return answer
        self._known.add(key)
        call.began()
        made: Answer = read_frame(self._stdout)
        return made

    def _sent(self, key: tuple[str, str], source: bytes | None, call: Call) -> Answer | None:
        """The answer when the handler does not begin."""
        write_frame(self._stdin, (key, source, call.context))
        answer: Answer | None = read_frame(self._stdout)
        return answer

    def end(self) -> str:
        """Ends it, if it has not; how it ended. From any thread."""
        with self._ending:
            return self._end()

    def _end(self) -> str:
        if self._process.poll() is None:
            self._signal(signal.SIGTERM)
        try:
            code = self._process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self._signal(_SIGKILL)
            code = self._process.wait()
        if self._life is not None:
            os.close(self._life)
            self._life = None
        for stream in (self._stdin, self._stdout):
            with contextlib.suppress(OSError):
                stream.close()
        return f"signal {-code}" if code < 0 else f"exit code {code}"

    def _signal(self, number: int) -> None:
        """To the process and to what it has started."""
        if sys.platform == "win32":
            self._process.send_signal(number)
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)


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
