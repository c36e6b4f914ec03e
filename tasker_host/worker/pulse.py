"""Telling the guard (`guard.py`) that this process's threads run, and starting it."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path

import structlog

from tasker_host.db.database import Database
from tasker_host.db.kernel import Claimed
from tasker_host.domain.ids import WorkerId
from tasker_host.worker.guard import PULSES_PER_LEASE

log = structlog.get_logger("tasker.worker")

GUARD = Path(__file__).with_name("guard.py")

HELD_LEASES = 0.25
"""A share of the lease: when the interpreter was held for longer, that is told."""

END_SECONDS = 1.0
"""How long a guard may take to end when its stdin is closed."""


class Pulse:
    """Sends a byte to the guard, from a thread of its own, while the threads of this process run.

    `held` are the steps that run, for the log.
    """

    def __init__(
        self,
        *,
        database: Database,
        worker: WorkerId,
        namespaces: Sequence[str],
        lease: timedelta,
        max_blocked_seconds: float,
        held: Callable[[], list[Claimed]],
    ) -> None:
        self._every = lease.total_seconds() / PULSES_PER_LEASE
        self._told_after = lease.total_seconds() * HELD_LEASES
        self._held = held
        self._first = json.dumps(
            {
                "path": sys.path,
                "database": database.reach,
                "worker": worker,
                "namespaces": list(namespaces),
                "lease_seconds": lease.total_seconds(),
                "max_blocked_seconds": max_blocked_seconds,
            }
        )
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="tasker-pulse", daemon=True)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._begin()
        self._thread.start()

    def stop(self) -> None:
        """Ends the guard, which then renews nothing any more."""
        self._stop.set()
        self._thread.join()
        if self._process is None:
            return
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        try:
            self._process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _begin(self) -> None:
        try:
            # Its own file, not `-m`: it needs nothing of ours until it is needed itself.
            self._process = subprocess.Popen(  # noqa: S603 - our own file
                [sys.executable, "-P", str(GUARD)],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                bufsize=0,
            )
            self._send(f"{self._first}\n".encode())
        except OSError as error:
            log.warning("leases are not guarded", error=str(error))

    def _send(self, data: bytes) -> None:
        """Raises OSError."""
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(data)

    def _run(self) -> None:
        before = time.monotonic()
        while not self._stop.wait(self._every):
            now = time.monotonic()
            if now - before - self._every > self._told_after:
                steps = [step.name for step in self._held()]
                log.warning(
                    "the interpreter was held, no thread could run", seconds=round(now - before, 1), steps=steps
                )
            before = now
            try:
                if self._process is not None:
                    self._send(b".")
            except OSError:
                assert self._process is not None
                log.warning("the guard of the leases ended, starting another", exit_code=self._process.wait())
                self._begin()
