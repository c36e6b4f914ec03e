"""The embedded server as the host sees it: start, check, stop; and how one process comes to own it."""

from __future__ import annotations

import atexit
import os
import threading
import time
import weakref
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

from tasker_host.db.embedded import places
from tasker_host.db.embedded.lock import OwnerLock
from tasker_host.db.embedded.log import ServerLog
from tasker_host.db.embedded.owned import OwnedServer
from tasker_host.db.embedded.probe import State, probe
from tasker_host.errors import EmbeddedUnavailable

_POLL_SECONDS = 0.01


class EmbeddedServer:
    """The server of one data directory. Its methods may be called from any thread; they block.

    A forked child has a copy that is not started: it may start, which attaches it.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        binaries: Path | None = None,
        options: Mapping[str, str] | None = None,
        start_timeout_seconds: float = 300.0,
        stop_timeout_seconds: float = 60.0,
    ) -> None:
        """`binaries`: a directory with `postgres` and `initdb`, else they are looked for. `options`: server settings.

        Recovery after a crash counts towards `start_timeout_seconds`. After `stop_timeout_seconds` the server is
        stopped without writing everything out, and recovers at the next start.
        """
        self.data_dir = data_dir.expanduser().resolve()
        self.log_path = self.data_dir / "postgres.log"
        self.version: tuple[int, int] | None = None
        self._socket_dir = places.socket_dir(self.data_dir)
        self.dsn = f"postgresql://postgres@/postgres?host={quote(str(self._socket_dir))}&port={places.PORT}"
        self._start_timeout_seconds = start_timeout_seconds
        self._lock = OwnerLock(self.data_dir / "host.lock")
        self._owned = OwnedServer(
            self.data_dir,
            self._socket_dir,
            ServerLog(self.log_path),
            binaries=binaries,
            options=options or {},
            start_timeout_seconds=start_timeout_seconds,
            stop_timeout_seconds=stop_timeout_seconds,
        )
        self._mutex = threading.RLock()
        self._started = False
        this = weakref.ref(self)
        os.register_at_fork(after_in_child=lambda: server._forget() if (server := this()) is not None else None)

    @property
    def is_owner(self) -> bool:
        """Whether the server ends with this process."""
        return self._started and self._owned.postmaster is not None

    @property
    def pid(self) -> int | None:
        """The server's process, where this process owns it."""
        postmaster = self._owned.postmaster
        return postmaster.pid if self._started and postmaster is not None else None

    def start(self) -> str:
        """Own the server of the data directory, or attach to it when another process does; its DSN.

        Does nothing when already started. Raises EmbeddedUnavailable.
        """
        with self._mutex:
            if not self._started:
                try:
                    places.make_directory(self.data_dir)
                    self._own_or_attach()
                except OSError as error:
                    raise self._unusable(error) from error
                self._started = True
            return self.dsn

    def check(self) -> bool:
        """Start the server again when it died, and succeed an owner who is gone. To be called again and again; cheap.

        True when a server was started: connections of before are lost. Raises EmbeddedUnavailable when that fails; the
        next call tries again.
        """
        with self._mutex:
            if not self._started:
                return False
            try:
                if self._owned.running():
                    return False
                return self._lock.acquire() and self._own()
            except OSError as error:
                raise self._unusable(error) from error

    def stop(self) -> None:
        """Stop the server if we own it, and wait for its end. Processes attached to it may then succeed us."""
        with self._mutex:
            if self._started:
                self._let_go()
                self._started = False

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _own_or_attach(self) -> None:
        deadline = time.monotonic() + self._start_timeout_seconds
        pause = threading.Event()
        while not self._lock.acquire():
            answer = probe(self._socket_dir, places.PORT)
            if answer.state is State.READY:
                self.version = answer.version
                return
            if time.monotonic() > deadline:
                raise EmbeddedUnavailable(
                    f"the server of {self.data_dir} belongs to another process (pid {self._lock.holder()}), and after"
                    f" {self._start_timeout_seconds:g} s it is still not ready: see {self.log_path}, or end that"
                    " process"
                )
            pause.wait(_POLL_SECONDS)
        self._own()

    def _own(self) -> bool:
        """Bring the server up with the lock in hand; whether one had to be started. Lets go of all when that fails."""
        try:
            started = self._owned.up()
            atexit.unregister(self.stop)
            atexit.register(self.stop)
        except BaseException:
            self._let_go()
            raise
        self.version = self._owned.version
        return started

    def _let_go(self) -> None:
        atexit.unregister(self.stop)
        if self._lock.held:
            self._owned.down()
        self._lock.release()

    def _forget(self) -> None:
        """In a forked child: we have the memory of one who started it, but neither the server nor the lock."""
        self._mutex = threading.RLock()  # another thread may have held it
        self._lock.release()  # the copy would keep it from others after the owner's end
        self._owned.disown()
        self._started = False

    def _unusable(self, error: OSError) -> EmbeddedUnavailable:
        return EmbeddedUnavailable(
            f"the embedded PostgreSQL cannot use {self.data_dir}: {error}: set database.data_dir to a directory which"
            " this process may write, or DATABASE_URL to a PostgreSQL server"
        )
