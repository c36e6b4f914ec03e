"""The server as its owner has it: adopted or started, watched, and taken down. Only for the owner of the lock."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Mapping
from pathlib import Path

from tasker_host.db.embedded import cluster, places
from tasker_host.db.embedded.account import Account, closed_to, server_account
from tasker_host.db.embedded.log import ServerLog
from tasker_host.db.embedded.postmaster import (
    Postmaster,
    orphans,
    read_pid_file,
    remove_damaged_pid_file,
    runs_here,
)
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


class OwnedServer:
    """`postmaster` is None while it is down, `version` is what the last one said about itself."""

    def __init__(
        self,
        data_dir: Path,
        socket_dir: Path,
        log: ServerLog,
        *,
        binaries: Path | None,
        options: Mapping[str, str],
        start_timeout_seconds: float,
        stop_timeout_seconds: float,
    ) -> None:
        self.postmaster: Postmaster | None = None
        self.version: tuple[int, int] | None = None
        self._data_dir = data_dir
        self._socket_dir = socket_dir
        self._log = log
        self._binaries = binaries
        self._options = {**_OPTIONS, **options}
        self._start_timeout_seconds = start_timeout_seconds
        self._stop_timeout_seconds = stop_timeout_seconds
        self._starter: Starter | None = None

    def up(self) -> bool:
        """Adopt the server that runs, or start one; whether one was started. Raises EmbeddedUnavailable, OSError.

        When it raises, a server may be half up: `down` is to follow.
        """
        binaries, pgdata = cluster.choose(self._data_dir, self._binaries)
        account = server_account(pgdata)
        self._check_way(account)
        self.postmaster = self._survivor(pgdata)
        if self.postmaster is not None:
            return False
        binaries = within_reach(binaries, account)
        self._clear_socket(account)
        if not pgdata.exists():
            cluster.initialise(binaries, pgdata, account, sync=self._options.get("fsync") != "off")
        remove_damaged_pid_file(pgdata)
        self._bring_up([binaries.bin_dir / "postgres", "-D", pgdata, *self._settings()], pgdata, account)
        return True

    def running(self) -> bool:
        """Whether it is up. Its log is kept small on the way."""
        if self.postmaster is None or not self.postmaster.running():
            return False
        self._log.bound()
        return True

    def down(self) -> None:
        """Shut it down if it is up, and wait for its end."""
        if self.postmaster is not None:
            self.postmaster.shut_down(self._stop_timeout_seconds)
            self.postmaster = None
            places.remove_socket_dir(self._socket_dir, self._data_dir)
        if self._starter is not None:
            self._starter.close()
            self._starter = None

    def disown(self) -> None:
        """Forget it without a word: in a forked child it is the parent's."""
        if self.postmaster is not None:
            self.postmaster.disown()
            self.postmaster = None
        self._starter = None

    def _check_way(self, account: Account) -> None:
        if account.lent and (closed := closed_to(account, self._data_dir)) is not None:
            raise EmbeddedUnavailable(
                f"root runs PostgreSQL as the account {account.name!r}, which may not pass {closed} on the way to"
                f" {self._data_dir}:"
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
                    f" {self._socket_dir}: stop it (kill -INT {found.pid}) and start again"
                )
            pause.wait(_POLL_SECONDS)
        return None

    def _clear_socket(self, account: Account) -> None:
        """Make the socket's directory, without what a dead server left there: its pid may be another's by now."""
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
            # Processes of the server that died may still work for a client; only without them a new one may start.
            if not self._log.says("pre-existing shared memory block") or time.monotonic() > deadline:
                assert self.postmaster is not None
                code = self.postmaster.exit_code()
                raise EmbeddedUnavailable(
                    f"PostgreSQL did not start in {pgdata} ({cluster.ending(code or 0)}), see"
                    f" {self._log.path}:{self._log.tail()}"
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
                directory=self._data_dir,
                death_signal=signal.SIGINT,
                environment=environment,
            )
            self.postmaster = Postmaster(child.pid, pgdata, child)

        if self._starter is None:
            self._starter = Starter()
        try:
            self._starter.run(start)
        finally:
            os.close(output)
        assert self.postmaster is not None
        return self.postmaster

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
                    f"PostgreSQL in {pgdata} is still not ready after {self._start_timeout_seconds:g} s, see"
                    f" {self._log.path}:{self._log.tail()}"
                )
            pause.wait(_POLL_SECONDS)
        return False
