"""What the tests of the embedded server share: other processes, waiting for what happens, and a look at the system."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import asyncpg
import pytest

PROJECT = Path(__file__).parents[3]
# For what need not survive a power cut: most tests.
FAST = {"fsync": "off"}
AS_ROOT = os.geteuid() == 0


def until(holds: Callable[[], bool], what: str, *, seconds: float = 20.0) -> None:
    """Wait until `holds()`; the test fails when it does not in time."""
    deadline = time.monotonic() + seconds
    pause = threading.Event()
    while not holds():
        assert time.monotonic() < deadline, f"after {seconds:g} s still not: {what}"
        pause.wait(0.005)


def alive(pid: int) -> bool:
    """Whether the process runs; a zombie does not."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return False
    return status.rpartition(")")[2].split()[0] not in "ZX"


def ended(pid: int) -> bool:
    """Waits for the end of a process."""
    until(lambda: not alive(pid), f"process {pid} ended")
    return True


def postgres_in(directory: Path) -> list[int]:
    """Servers, and other processes of PostgreSQL, that work below the directory."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if (entry / "comm").read_text().strip() in {"postgres", "initdb"} and _works_in(entry, directory):
                found.append(int(entry.name))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def _works_in(process: Path, directory: Path) -> bool:
    try:
        return Path(os.readlink(process / "cwd")).is_relative_to(directory)
    except PermissionError:  # somebody else's, or we are root of a container
        return os.fsencode(directory) in (process / "cmdline").read_bytes()


def as_server(data_dir: Path) -> dict[str, Any]:
    """What makes Popen start a process as the account of the server."""
    account = (data_dir / "pg18").stat()
    return {"user": account.st_uid, "group": account.st_gid, "extra_groups": []} if AS_ROOT else {}


def execute(dsn: str, statement: str) -> Any:
    """Run a statement on a connection of its own; the first value that comes back."""

    async def run() -> Any:
        connection = await asyncpg.connect(dsn, timeout=10)
        try:
            return await connection.fetchval(statement)
        finally:
            await connection.close()

    return asyncio.run(run())


def keep(dsn: str, value: int) -> None:
    """Write the value down."""
    execute(dsn, "create table if not exists kept (value int)")
    execute(dsn, "delete from kept")
    execute(dsn, f"insert into kept values ({value})")


def kept(dsn: str) -> int:
    """The value that was written down."""
    value: int = execute(dsn, "select value from kept")
    return value


def accepts(dsn: str) -> bool:
    """Whether it can be connected to at this moment."""
    try:
        return bool(execute(dsn, "select 1") == 1)
    except (OSError, asyncpg.PostgresError):
        return False


class Neighbour:
    """A child process that runs `neighbour.py`; its commands are methods here, what they return its answers."""

    def __init__(self, data_dir: Path, *, before: tuple[str, ...] = (), **environment: str) -> None:
        self._process = subprocess.Popen(
            [*before, sys.executable, str(Path(__file__).with_name("neighbour.py")), str(data_dir)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(PROJECT), *sys.path]), **environment},
            cwd="/",
            start_new_session=True,
        )
        self.pid: int = self.answer()["here"]

    def ask(self, command: str) -> dict[str, Any]:
        self.tell(command)
        return self.answer()

    def tell(self, command: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(command + "\n")
        self._process.stdin.flush()

    def answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the other process ended instead of answering"
        answer: dict[str, Any] = json.loads(line)
        return answer

    def start(self) -> dict[str, Any]:
        return self.ask("start")

    def check(self) -> dict[str, Any]:
        return self.ask("check")

    def end(self) -> None:
        """Let it come to the end of its program; by itself, and without an error."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        assert self._process.wait(timeout=20) == 0

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        self._process.send_signal(number)
        self._process.wait(timeout=20)

    def signal_group(self, number: signal.Signals) -> None:
        """As a terminal does it: to the process and to all that it did not set apart."""
        os.killpg(self.pid, number)
        self._process.wait(timeout=20)

    def close(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait(timeout=20)
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            stream.close()


def ordinary_user() -> tuple[str, ...]:
    """What to write before a command so that an ordinary user runs it; nothing when we are one."""
    if not AS_ROOT:
        return ()
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        pytest.skip("root has no setpriv here to run a test as an ordinary user")
    user = (setpriv, "--reuid=nobody", "--regid=nogroup", "--clear-groups")
    # The first start by setpriv is still root's, the second is what an ordinary user may do.
    starts_itself = "import os, sys, json; os.execv(sys.executable, [sys.executable, '-c', ''])"
    # Where the interpreter is below a closed directory, as /root, the user may at least read everything.
    for command in (user, (*user, "--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search")):
        ran = subprocess.run([*command, sys.executable, "-c", starts_itself], check=False, capture_output=True)
        if ran.returncode == 0:
            return command
    return pytest.skip("an ordinary user cannot run the interpreter of these tests")
