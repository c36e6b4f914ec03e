"""The embedded server as the host sees it: start, check, stop; and how one process comes to own it."""

from __future__ import annotations

import atexit
import os
import signal
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

from tasker_host.db.embedded import cluster, places
from tasker_host.db.embedded.account import Account, closed_to, server_account
from tasker_host.db.embedded.lock import OwnerLock
from tasker_host.db.embedded.log import ServerLog
from tasker_host.db.embedded.postmaster import Postmaster, orphans, read_pid_file, remove_damaged_pid_file, runs_here
from tasker_host.db.embedded.probe import State, probe
from tasker_host.db.embedded.reach import within_reach
from tasker_host.db.embedded.spawn import Starter, spawn
from tasker_host.errors import EmbeddedUnavailable

# fsync and synchronous_commit stay as PostgreSQL ships them: what was committed survives a power cut.
_OPTIONS = {
    "max_connections": "100",
    "shared_buffers": "128MB",
    "jit": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "autovacuum_naptime": "10s",
    "autovacuum_vacuum_cost_delay": "0",
    "log_checkpoints": "off",
}
_POLL_SECONDS = 0.01
_SILENT_SECONDS = 5.0


class EmbeddedServer:
    """The server of one data directory. Its methods may be called from any thread; they block."""

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
        self._binaries = binaries
        self._options = {**_OPTIONS, **(options or {})}
        self._start_timeout_seconds = start_timeout_seconds
        self._stop_timeout_seconds = stop_timeout_seconds
        self._log = ServerLog(self.log_path)
        self._lock = OwnerLock(self.data_dir / "host.lock")
        self._mutex = threading.RLock()
        self._starter: Starter | None = None
        self._postmaster: Postmaster | None = None
        self._started_in: int | None = None

    @property
    def is_owner(self) -> bool:
        """Whether the server ends with this process."""
        return self._here() and self._postmaster is not None

    @property
    def pid(self) -> int | None:
        """The server's process, where this process owns it."""
        return self._postmaster.pid if self._postmaster is not None and self._here() else None

    def start(self) -> str:
        """Own the server of the data directory, or attach to it when another process does; its DSN.

        Does nothing when already started. Raises EmbeddedUnavailable.
        """
        with self._mutex:
            if not self._here():
                try:
                    places.make_data_dir(self.data_dir)
                    self._own_or_attach()
                except OSError as error:
                    raise self._unusable(error) from error
                self._started_in = os.getpid()
            return self.dsn

    def check(self) -> bool:
        """Start the server again when it died, and succeed an owner who is gone. To be called again and again; cheap.

        True when a server was started: connections of before are lost. Raises EmbeddedUnavailable when that fails; the
        next call tries again.
        """
        if not self._here():
            return False
        with self._mutex:
            if not self._here():
                return False
            try:
                if self._postmaster is not None and self._postmaster.running():
                    self._log.bound()
                    return False
                return self._lock.acquire() and self._own()
            except OSError as error:
                raise self._unusable(error) from error

    def stop(self) -> None:
        """Stop the server if we own it, and wait for its end. Processes attached to it may then succeed us."""
        if not self._here():
            return
        with self._mutex:
            if self._postmaster is not None:
                self._postmaster.shut_down(self._stop_timeout_seconds)
            self._let_go()
            self._started_in = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _here(self) -> bool:
        """Whether it is started, and by this process: a forked child has our memory, but neither server nor lock."""
        return self._started_in == os.getpid()

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
        """Adopt the server that runs, or start one, with the lock in hand; whether one was started.

        Gives up the lock if not.
        """
        try:
            binaries, pgdata = cluster.choose(self.data_dir, self._binaries)
            account = server_account(pgdata)
            self._check_way(account)
            survivor = self._survivor(pgdata)
            if survivor is not None:
                self._postmaster = survivor
            else:
                binaries = within_reach(binaries, account)
                if not pgdata.exists():
                    cluster.initialise(binaries, pgdata, account, sync=self._options.get("fsync") != "off")
                remove_damaged_pid_file(pgdata)
                self._clear_socket(account)
                self._bring_up([binaries.bin_dir / "postgres", "-D", pgdata, *self._settings()], pgdata, account)
            atexit.unregister(self.stop)
            atexit.register(self.stop)
        except BaseException:
            if self._postmaster is not None:
                self._postmaster.shut_down(self._stop_timeout_seconds)
            self._let_go()
            raise
        return survivor is None

    def _let_go(self) -> None:
        atexit.unregister(self.stop)
        self._postmaster = None
        if self._starter is not None:
            self._starter.close()
            self._starter = None
        self._lock.release()

    def _check_way(self, account: Account) -> None:
        if account.lent and (closed := closed_to(account, self.data_dir)) is not None:
            raise EmbeddedUnavailable(
                f"root runs PostgreSQL as the account {account.name!r}, which may not pass {closed} on the way to"
                f" {self.data_dir}:"
                f" set database.data_dir to a directory which every account can reach, such as {places.system_dir()}"
            )

    def _survivor(self, pgdata: Path) -> Postmaster | None:
        """The server that still runs here without an owner. One that is on its way up or down is waited for."""
        deadline = time.monotonic() + self._start_timeout_seconds
        silent = time.monotonic() + _SILENT_SECONDS
        pause = threading.Event()
        while (found := read_pid_file(pgdata)) is not None and runs_here(found.pid, pgdata):
            answer = probe(self._socket_dir, places.PORT)
            if answer.state is State.READY:
                self.version = answer.version
                return Postmaster(found.pid, pgdata)
            now = time.monotonic()
            if now > deadline or (now > silent and found.ready and answer.state is State.DOWN):
                raise EmbeddedUnavailable(
                    f"a PostgreSQL (pid {found.pid}) runs in {pgdata}, but does not answer on the socket in"
                    f" {self._socket_dir}:"
                    f" stop it (kill -INT {found.pid}) and start again"
                )
            pause.wait(_POLL_SECONDS)
        return None

    def _clear_socket(self, account: Account) -> None:
        """Make the socket's directory, without what a dead server left there: its pid may be another process's by
        now."""
        places.make_socket_dir(self._socket_dir, account.uid, account.gid)
        for name in (f".s.PGSQL.{places.PORT}", f".s.PGSQL.{places.PORT}.lock"):
            (self._socket_dir / name).unlink(missing_ok=True)

    def _settings(self) -> list[str]:
        ours = {
            "listen_addresses": "",
            "port": str(places.PORT),
            "unix_socket_directories": str(self._socket_dir),
            "unix_socket_permissions": "0700",
        }
        settings = {**self._options, **ours}
        return [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]

    def _bring_up(self, command: list[str | Path], pgdata: Path, account: Account) -> None:
        deadline = time.monotonic() + self._start_timeout_seconds
        while not self._is_up(self._spawn(command, pgdata, account), pgdata, deadline):
            # Processes of the server that died may still be at work for a client; only without them a new one may
            # start.
            if not self._log.says("pre-existing shared memory block") or time.monotonic() > deadline:
                assert self._postmaster is not None
                code = self._postmaster.exit_code()
                raise EmbeddedUnavailable(
                    f"PostgreSQL did not start in {pgdata} ({cluster.ending(code or 0)}), see"
                    f" {self.log_path}:{self._log.tail()}"
                )
            for pid in orphans(pgdata):
                os.kill(pid, signal.SIGQUIT)

    def _spawn(self, command: list[str | Path], pgdata: Path, account: Account) -> Postmaster:
        stale = read_pid_file(pgdata)
        # PostgreSQL takes a living process with the pid of the stale file for a running server, unless told that it
        # descends from it. Removing the file instead could let two servers into one directory.
        environment = {} if stale is None else {"PG_GRANDPARENT_PID": str(stale.pid)}
        output = self._log.open()

        def start() -> None:
            child = spawn(
                command,
                account,
                output=output,
                directory=self.data_dir,
                death_signal=signal.SIGINT,
                environment=environment,
            )
            self._postmaster = Postmaster(child.pid, pgdata, child)

        if self._starter is None:
            self._starter = Starter()
        try:
            self._starter.run(start)
        finally:
            os.close(output)
        assert self._postmaster is not None
        return self._postmaster

    def _is_up(self, postmaster: Postmaster, pgdata: Path, deadline: float) -> bool:
        """Wait until the server accepts connections (True) or has ended (False)."""
        pause = threading.Event()
        while postmaster.running():
            found = read_pid_file(pgdata)
            if found is not None and found.pid == postmaster.pid and found.ready:
                answer = probe(self._socket_dir, places.PORT)
                if answer.state is State.READY:
                    self.version = answer.version
                    return True
            if time.monotonic() > deadline:
                raise EmbeddedUnavailable(
                    f"PostgreSQL in {pgdata} is still not ready after {self._start_timeout_seconds:g}"
                    f" s:{self._log.tail()}"
                )
            pause.wait(_POLL_SECONDS)
        return False

    def _unusable(self, error: OSError) -> EmbeddedUnavailable:
        return EmbeddedUnavailable(
            f"the embedded PostgreSQL cannot use {self.data_dir}: {error}: set database.data_dir to a directory which"
            " this process may write, or DATABASE_URL to a PostgreSQL server"
        )
