"""Directories and other processes for the tests of the embedded server. Nothing of a test may outlive it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tasker_host.db.embedded import EmbeddedServer, find_binaries, temporary_data_dir
from tasker_host.db.embedded.account import Account
from tasker_host.db.embedded.reach import within_reach

if sys.platform == "linux":
    import pwd

    from tests.db.embedded.support import FAST, Neighbour, ended, ordinary_user, postgres_in, until
else:
    # The tests look into /proc; and what they hold the server to when its owner is killed only Linux's kernel does.
    collect_ignore_glob = ["test_*.py"]


@pytest.fixture(scope="session")
def initialised() -> Iterator[Path]:
    """The data directory which `data_dir` hands out: to make one for each test would be most of what a test costs."""
    with temporary_data_dir() as root:
        with EmbeddedServer(root / "data", options=FAST):
            pass
        yield root / "data"


@pytest.fixture
def data_dir(initialised: Path) -> Iterator[Path]:
    """A data directory that was used before; its log is empty."""
    for log in initialised.glob("postgres.log*"):
        log.unlink()
    yield initialised
    none_left_in(initialised)


@pytest.fixture
def place() -> Iterator[Path]:
    """An empty directory which every account can reach."""
    with temporary_data_dir() as root:
        yield root
        none_left_in(root)


def none_left_in(directory: Path) -> None:
    """The server of a process that was killed goes down by itself, in a moment. Another one is a defect, and killed."""
    try:
        until(lambda: not postgres_in(directory), f"no server runs in {directory}")
    finally:
        for pid in postgres_in(directory):
            os.kill(pid, signal.SIGKILL)
            ended(pid)


@pytest.fixture
def server(data_dir: Path) -> Iterator[EmbeddedServer]:
    """Our own server, running."""
    with EmbeddedServer(data_dir, options=FAST) as server:
        yield server


@pytest.fixture
def neighbour() -> Iterator[Callable[..., Neighbour]]:
    """Makes other processes: `neighbour(data_dir)`."""
    made: list[Neighbour] = []

    def new(data_dir: Path, **options: object) -> Neighbour:
        made.append(Neighbour(data_dir, **options))  # type: ignore[arg-type]
        return made[-1]

    yield new
    for process in made:
        process.close()


@pytest.fixture(scope="session")
def users_programs(as_ordinary_user: tuple[str, ...]) -> Iterator[str]:
    """Where an ordinary user finds PostgreSQL: a copy, where the installed one is below a closed directory."""
    found = find_binaries()
    without_capabilities = [part for part in as_ordinary_user if "-caps=" not in part]
    # What setpriv itself starts may still do what root may; the shell is the user's.
    command = [*without_capabilities, "sh", "-c", '"$0" --version', str(found.bin_dir / "postgres")]
    ran = subprocess.run(command, check=False, capture_output=True)
    if ran.returncode == 0:
        yield str(found.bin_dir)
        return
    user = pwd.getpwnam("nobody")
    with temporary_data_dir() as folder:
        account = Account("nobody", user.pw_uid, user.pw_gid, lent=True)
        yield str(within_reach(found, account, keep_in=folder / "programs").bin_dir)


@pytest.fixture(scope="session")
def as_ordinary_user() -> tuple[str, ...]:
    """What to write before a command so that an ordinary user runs it."""
    return ordinary_user()
