"""Processes for handlers that say `runs_in="process"`: one call at a time in each, ended when a call overruns."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
from dataclasses import replace
from typing import Any

from tasker_host.domain.context import StepContext
from tasker_host.domain.result import Failed
from tasker_host.errors import RetryableError
from tasker_host.hooks.bound import BoundHandler
from tasker_host.worker.child import read_frame, write_frame

END_SECONDS = 2.0
"""How long a process that is told to end may take."""


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

    def call(self, handler: BoundHandler, context: StepContext) -> tuple[str, Any]:
        """Raises OSError, EOFError when the process ends meanwhile."""
        key = (handler.name, handler.method)
        write_frame(self._stdin, (key, None if key in self._known else handler.source, context))
        answer: tuple[str, Any] = read_frame(self._stdout)
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


class Job:
    """One call, made in whatever thread calls `run`."""

    def __init__(self, processes: Processes, handler: BoundHandler, context: StepContext) -> None:
        self._processes = processes
        self._handler = handler
        self._context = replace(context, _transactions=None)
        self._process: _Process | None = None
        self._stopped = False
        self._mutex = threading.Lock()

    def run(self) -> Any:
        """What the handler returned; raises what it raised, and RetryableError when its process ended."""
        process = self._processes.take()
        with self._mutex:
            if self._stopped:
                self._processes.give_back(process)
                raise RetryableError("stopped before it began")
            self._process = process
        try:
            kind, value = process.call(self._handler, self._context)
        except (OSError, EOFError):
            how = process.end()
            raise RetryableError(
                f"the process in which handler {self._handler.name!r} ran ended with {how}", error_code="PROCESS_DIED"
            ) from None
        finally:
            with self._mutex:
                self._process = None
        self._processes.give_back(process)
        if kind == "raised":
            raise value
        assert kind == "value" or isinstance(value, Failed)
        return value

    def stop(self) -> None:
        """Ends the process in which it runs; another takes its place for the next call."""
        with self._mutex:
            self._stopped = True
            process = self._process
        if process is not None:
            # Waiting for the end of a process would hold up everything else on the loop.
            threading.Thread(target=process.end, name="tasker-end-process", daemon=True).start()


class Processes:
    """Idle processes; as many live as calls are made at the same time."""

    def __init__(self) -> None:
        self._idle: list[_Process] = []
        self._mutex = threading.Lock()
        self._closed = False

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
        with self._mutex:
            self._closed = True
            idle, self._idle = self._idle, []
        for process in idle:
            process.end()
