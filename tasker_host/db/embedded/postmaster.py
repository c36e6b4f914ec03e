"""The server process: as our child, or as a survivor whose owner is gone."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_PROGRAMS = ("postgres", "postmaster")
_POLL_SECONDS = 0.01


@dataclass(frozen=True, slots=True)
class PidFile:
    """What a server wrote into `postmaster.pid`. It may be dead and its pid another process's: `runs_here` tells."""

    pid: int
    ready: bool


def read_pid_file(pgdata: Path) -> PidFile | None:
    """The pid file as far as it is written; None when there is none, or not yet a pid in it."""
    try:
        lines = (pgdata / "postmaster.pid").read_text(errors="surrogateescape").splitlines()
    except (FileNotFoundError, NotADirectoryError):
        return None
    lines += [""] * (8 - len(lines))
    # A single-user server (initdb's) writes its pid with a minus.
    if not lines[0].strip().removeprefix("-").isdigit():
        return None
    return PidFile(pid=abs(int(lines[0])), ready=lines[7].strip() == "ready")


def remove_damaged_pid_file(pgdata: Path) -> None:
    """Remove a pid file without a pid, as a full disk or a power cut leaves one: PostgreSQL refuses to start on it.

    A file with a pid stays: PostgreSQL decides about that itself. Only for the owner of the lock.
    """
    if read_pid_file(pgdata) is None:
        (pgdata / "postmaster.pid").unlink(missing_ok=True)


def runs_here(pid: int, pgdata: Path) -> bool:
    """Whether `pid` is a living process of a server in `pgdata`: not a zombie, not a stranger to whom the pid went."""
    if not Path("/proc/self/stat").exists():
        return _runs_here_by_ps(pid, pgdata)
    process = Path("/proc") / str(pid)
    try:
        if (process / "comm").read_text(errors="replace").rstrip("\n") not in _PROGRAMS:
            return False
        # A zombie has no working directory any more.
        return (process / "cwd").samefile(pgdata)
    except (FileNotFoundError, ProcessLookupError):
        return False
    except PermissionError:
        return _works_in(process, pgdata)


def _works_in(process: Path, pgdata: Path) -> bool:
    """Root without CAP_SYS_PTRACE, as in most containers, may not look where a process works; its account may."""
    if os.geteuid() != 0:
        return False
    owner = pgdata.stat()
    told = subprocess.run(  # noqa: S603 - a fixed program and a path of /proc
        ["readlink", process / "cwd"],  # noqa: S607 - wherever the system has it
        capture_output=True,
        check=False,
        user=owner.st_uid,
        group=owner.st_gid,
        extra_groups=[],
    ).stdout
    return told == os.fsencode(pgdata.resolve()) + b"\n"


def _runs_here_by_ps(pid: int, pgdata: Path) -> bool:
    told = subprocess.run(  # noqa: S603 - a fixed program and a number
        ["ps", "-ww", "-o", "stat=,command=", "-p", str(pid)],  # noqa: S607 - wherever the system has it
        capture_output=True,
        text=True,
        check=False,
    ).stdout
    status, _, command = told.strip().partition(" ")
    program = Path(command.partition(" -D ")[0].strip()).name
    return not status.startswith("Z") and program in _PROGRAMS and str(pgdata) in command


def orphans(pgdata: Path) -> Iterator[int]:
    """Processes of a server in `pgdata` whose postmaster is dead; only to be asked when it is. None without /proc."""
    for entry in Path("/proc").glob("[0-9]*"):
        if runs_here(int(entry.name), pgdata):
            yield int(entry.name)


class Postmaster:
    """A running server. `child` when this process started it."""

    def __init__(self, pid: int, pgdata: Path, child: subprocess.Popen[bytes] | None = None) -> None:
        self.pid = pid
        self._pgdata = pgdata
        self._child = child
        self._descriptor = None if child else _pidfd(pid)

    def running(self) -> bool:
        if self._child is not None:
            return self._child.poll() is None  # this also takes the zombie away
        if self._descriptor is not None:
            return not select.select([self._descriptor], [], [], 0)[0]
        return runs_here(self.pid, self._pgdata)

    def exit_code(self) -> int | None:
        """How our child ended (negative: by that signal); None for a survivor, or while it runs."""
        return self._child.poll() if self._child is not None else None

    def wait(self, seconds: float) -> bool:
        """Wait for its end; whether it came."""
        deadline = time.monotonic() + seconds
        pause = threading.Event()
        while self.running():
            if time.monotonic() >= deadline:
                return False
            pause.wait(_POLL_SECONDS)
        return True

    def send(self, number: signal.Signals) -> None:
        if not self.running():
            return
        try:
            if self._descriptor is not None:
                signal.pidfd_send_signal(self._descriptor, number)
            else:
                os.kill(self.pid, number)
        except ProcessLookupError:
            pass

    def shut_down(self, patience_seconds: float) -> None:
        """Stop it: disconnect the clients and write everything out; after `patience_seconds` less politely."""
        for number, seconds in ((signal.SIGINT, patience_seconds), (signal.SIGQUIT, 10.0), (signal.SIGKILL, 10.0)):
            self.send(number)
            if self.wait(seconds):
                break
        self.close()

    def disown(self) -> None:
        """In a forked child, whose child it is not: there is nothing to wait for."""
        if self._child is not None:
            self._child.returncode = 0
        self.close()

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _pidfd(pid: int) -> int | None:
    """A handle that stays with this process when its pid is used again; None where the system has none."""
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError):
        return None
