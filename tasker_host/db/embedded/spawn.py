"""Starting PostgreSQL's programs: as which account, with which environment, and tied to whose life."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from pathlib import Path
from typing import IO

from tasker_host.db.embedded import launch
from tasker_host.db.embedded.account import Account


def spawn(
    command: Sequence[str | Path],
    account: Account,
    *,
    output: int | IO[bytes],
    directory: Path,
    death_signal: signal.Signals = signal.SIGTERM,
    environment: dict[str, str] | None = None,
) -> subprocess.Popen[bytes]:
    """Start a program as `account` in a session of its own (a terminal's Ctrl-C does not reach it).

    On Linux it gets `death_signal` when the *thread* that called this ends. Raises OSError.
    """
    arguments = [os.fspath(part) for part in command]
    identity = {"user": account.uid, "group": account.gid, "extra_groups": []} if account.lent else {}
    if sys.platform == "linux" and sys.executable:
        uid, gid = (account.uid, account.gid) if account.lent else (-1, -1)
        tie = [os.getpid(), int(death_signal), uid, gid]
        arguments = [sys.executable, "-I", "-S", launch.__file__, *map(str, tie), *arguments]
        identity = {}
    return subprocess.Popen(  # type: ignore[call-overload, no-any-return]  # noqa: S603 - a command of ours
        arguments,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        cwd=directory,
        env=_environment() | (environment or {}),
        start_new_session=True,
        **identity,
    )


def _environment() -> dict[str, str]:
    """Nothing of the host's own (its secrets, PGDATA, a locale that may not exist), but where libraries are found."""
    kept = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
    return {name: os.environ[name] for name in kept if name in os.environ} | {"LC_ALL": "C", "TZ": "UTC"}


class Starter:
    """A thread that lives as long as what it starts: the kernel ties a child's life to a thread's, not to a
    process's."""

    def __init__(self) -> None:
        self._calls: queue.SimpleQueue[tuple[Callable[[], None], Future[None]] | None] = queue.SimpleQueue()
        # A daemon: the interpreter would wait for another one before it calls what stops the server at exit.
        self._thread = threading.Thread(target=self._serve, name="tasker-postgres-starter", daemon=True)
        self._thread.start()

    def run(self, call: Callable[[], None]) -> None:
        """Run `call` in the thread. It is over when this returns or raises, also when Ctrl-C interrupts the waiting."""
        done: Future[None] = Future()
        self._calls.put((call, done))
        try:
            done.result()
        except BaseException:
            wait([done])
            raise

    def close(self) -> None:
        self._calls.put(None)
        self._thread.join()

    def _serve(self) -> None:
        while (item := self._calls.get()) is not None:
            call, done = item
            try:
                call()
            except BaseException as error:
                done.set_exception(error)
            else:
                done.set_result(None)
