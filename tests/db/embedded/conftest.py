"""Directories and other processes for the tests of the embedded server. Nothing of a test may outlive it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tasker_host.db.embedded import EmbeddedServer, temporary_data_dir

if sys.platform == "linux":
    from tests.db.embedded.support import Neighbour, ended, ordinary_user, postgres_in, until
else:
    # The tests look into /proc; and what they hold the server to when its owner is killed only Linux's kernel does.
    collect_ignore_glob = ["test_*.py"]

FAST = {"fsync": "off"}


@pytest.fixture(scope="session")
def initialised() -> Iterator[Path]:
    """A data directory that has been used once; to be copied, not to be touched."""
    with temporary_data_dir() as root:
        with EmbeddedServer(root / "data", options=FAST):
            pass
        (root / "data" / "postgres.log").unlink()
        yield root / "data"


@pytest.fixture
def place() -> Iterator[Path]:
    """An empty directory which every account can reach. At the end no server may run in it."""
    with temporary_data_dir() as root:
        yield root
        # The server of a process that was killed goes down by itself, which takes a moment.
        try:
            until(lambda: not postgres_in(root), "no server of the test runs any more")
        finally:
            for pid in postgres_in(root):
                os.kill(pid, signal.SIGKILL)
                ended(pid)


@pytest.fixture
def data_dir(place: Path, initialised: Path) -> Path:
    """A data directory that has been used before."""
    subprocess.run(["cp", "-a", initialised, place / "data"], check=True)
    return place / "data"


@pytest.fixture
def server(data_dir: Path) -> Iterator[EmbeddedServer]:
    """Our own server, running."""
    with EmbeddedServer(data_dir, options=FAST) as server:
        yield server


@pytest.fixture
def neighbour(place: Path) -> Iterator[Callable[..., Neighbour]]:
    """Makes other processes: `neighbour(data_dir)`."""
    made: list[Neighbour] = []

    def new(data_dir: Path, **options: object) -> Neighbour:
        made.append(Neighbour(data_dir, **options))  # type: ignore[arg-type]
        return made[-1]

    yield new
    for process in made:
        process.close()


@pytest.fixture(scope="session")
def as_ordinary_user() -> tuple[str, ...]:
    """What to write before a command so that an ordinary user runs it."""
    return ordinary_user()
