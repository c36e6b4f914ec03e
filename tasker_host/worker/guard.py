"""A process that keeps a worker's leases while no thread of the worker can run.

A C extension may keep the interpreter (the GIL) for minutes: then neither the loop nor the thread that renews leases
gets its turn, although the handler works. The worker starts one guard and sends it a byte now and then. When these stop
coming while the worker's process lives, the guard renews all leases of that worker, on a connection that it opens then.

It does so for `max_blocked_seconds` at most, not while the process is stopped (SIGSTOP), and not once it is dead: its
end closes our stdin, and we end with it. Only the standard library is imported until there is something to do: every
host starts one of these.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from asyncpg import Connection

PULSES_PER_LEASE = 16
"""So often the worker says that its threads run."""

SILENT_PULSES = 2
"""So many that did not come mean that they do not."""

RENEWALS_PER_LEASE = 4

SHORT_LEASE_SECONDS = 10.0
"""A shorter one leaves no time to import what is needed when it is needed."""


class Guard:
    """`given` is what the worker wrote first (`pulse.py`)."""

    def __init__(self, given: dict[str, Any]) -> None:
        self._given = given
        self._lease: float = given["lease_seconds"]
        self._pulse = self._lease / PULSES_PER_LEASE
        self._parent = os.getppid()
        self._heard_at = time.monotonic()

    def heard(self) -> None:
        self._heard_at = time.monotonic()

    def watch(self) -> None:
        """Until the process is ended."""
        if self._lease < SHORT_LEASE_SECONDS:
            import tasker_host.db.kernel  # noqa: F401
        while True:
            time.sleep(self._pulse)
            if self._is_needed():
                import asyncio

                asyncio.run(self._hold())

    def _is_needed(self) -> bool:
        if os.getppid() != self._parent:
            os._exit(0)  # what the worker forked may still hold the other end of our stdin
        silent = time.monotonic() - self._heard_at
        return self._pulse * SILENT_PULSES < silent <= self._given["max_blocked_seconds"] and not is_stopped(
            self._parent
        )

    async def _hold(self) -> None:
        import asyncio
        from datetime import timedelta

        from tasker_host.db.database import Database, dropped
        from tasker_host.db.kernel import worker_hold

        database = Database(**self._given["database"])
        connection: Connection | None = None
        try:
            while self._is_needed():
                try:
                    async with asyncio.timeout(self._lease / 2):
                        if connection is None or connection.is_closed():
                            connection = await database.connect(role="guard", synchronous_commit="off")
                        await worker_hold(
                            connection,
                            self._given["worker"],
                            self._given["namespaces"],
                            lease=timedelta(seconds=self._lease),
                        )
                    pause = self._lease / RENEWALS_PER_LEASE
                except Exception:  # whatever it is: tried again soon, and the worker tells when it has lost a lease
                    await dropped(connection)
                    connection = None
                    pause = self._pulse
                await asyncio.sleep(pause)
        finally:
            await dropped(connection)


def is_stopped(pid: int) -> bool:
    """Whether the process was stopped by a signal, where the system tells."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            stat = file.read()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] == "T"


def main() -> None:
    # Ctrl-C and SIGTERM reach the whole group: we are needed as long as the worker drains.
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    stdin = io.FileIO(sys.stdin.fileno(), closefd=False)
    first = stdin.readline()
    if not first:
        return
    given = json.loads(first)
    sys.path[:] = given.pop("path")
    guard = Guard(given)

    def listen() -> None:
        with contextlib.suppress(OSError):
            while stdin.read(4096):
                guard.heard()
        os._exit(0)

    threading.Thread(target=listen, daemon=True).start()
    guard.watch()


if __name__ == "__main__":
    main()
