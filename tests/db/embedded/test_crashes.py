"""The server that dies is started again with all it had committed; what a dead one leaves behind deceives nobody."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread

import asyncpg
import pytest

from tasker_host.db.embedded import EmbeddedServer
from tasker_host.errors import EmbeddedUnavailable
from tests.db.embedded.support import (
    AS_ROOT,
    Neighbour,
    accepts,
    alive,
    as_server,
    ended,
    execute,
    keep,
    kept,
    postgres_in,
    until,
)

NewNeighbour = Callable[..., Neighbour]
PR_SET_CHILD_SUBREAPER = 36


def kill_server(server: EmbeddedServer) -> int:
    """Kill the postmaster as the kernel does when memory runs out; its pid."""
    pid = server.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    ended(pid)
    return pid


def rewrite_pid(file: Path, pid: int) -> None:
    """Let a pid or lock file name another process, as if the pid had been given away again."""
    _, *rest = file.read_text().splitlines(keepends=True)
    file.write_text("".join([f"{pid}\n", *rest]))


def command_of(pid: int) -> list[bytes]:
    return Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").split(b"\0")


@pytest.fixture
def crashed(data_dir: Path, neighbour: NewNeighbour) -> Path:
    """A data directory whose server and owner were killed with no chance to tidy up; 41 was kept in it."""
    owner = neighbour(data_dir)
    started = owner.start()
    keep(started["dsn"], 41)
    os.kill(started["pid"], signal.SIGKILL)
    ended(started["pid"])
    owner.kill()
    until(lambda: not postgres_in(data_dir), "the processes of the dead server ended")
    assert (data_dir / "pg18" / "postmaster.pid").exists()
    return data_dir


@pytest.fixture
def foreign(data_dir: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A living process of the server's own account that has nothing to do with PostgreSQL."""
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, cwd="/", **as_server(data_dir)) as process:
        yield process


def test_check_starts_a_killed_server_again_and_what_was_committed_is_there(server: EmbeddedServer) -> None:
    keep(server.dsn, 41)
    before = kill_server(server)

    assert server.check() is True

    assert server.is_owner
    assert server.pid not in {None, before}
    assert kept(server.dsn) == 41
    assert server.check() is False


def test_check_starts_it_again_after_each_of_several_deaths(server: EmbeddedServer) -> None:
    for value in (1, 2, 3):
        keep(server.dsn, value)
        kill_server(server)
        assert server.check() is True
        assert kept(server.dsn) == value


CONTAINER = ("setpriv", "--bounding-set=-sys_ptrace")


@pytest.mark.parametrize("before", [(), CONTAINER], ids=["as we are", "as root of a container"])
def test_an_orphan_of_the_dead_server_that_is_still_at_work_does_not_keep_the_next_one_away(
    data_dir: Path, neighbour: NewNeighbour, before: tuple[str, ...]
) -> None:
    if before and not AS_ROOT:
        pytest.skip("only root can give rights up")
    owner = neighbour(data_dir, before=before)
    started = owner.start()
    dsn = started["dsn"]

    def work() -> None:
        # It never waits for anything, so it does not notice that its postmaster is gone.
        with pytest.raises((asyncpg.PostgresError, OSError)):
            execute(dsn, "select count(*) from generate_series(1, 1e12)")

    client = Thread(target=work)
    client.start()
    busy = "select count(*) from pg_stat_activity where query like '%generate_series%' and pid <> pg_backend_pid()"
    until(lambda: execute(dsn, busy) == 1, "the client is at work")

    os.kill(started["pid"], signal.SIGKILL)
    ended(started["pid"])

    assert owner.check()["restarted"] is True
    assert accepts(dsn)
    client.join()


def test_a_killed_client_process_of_the_server_is_the_servers_own_affair(server: EmbeddedServer) -> None:
    before = server.pid
    with pytest.raises((asyncpg.PostgresError, OSError)):
        execute(server.dsn, "copy (select 1) to program 'kill -9 $PPID'")

    until(lambda: accepts(server.dsn), "the server has recovered")

    assert server.check() is False
    assert server.pid == before


def test_a_server_that_was_stopped_from_outside_is_started_again(server: EmbeddedServer) -> None:
    assert server.pid is not None
    os.kill(server.pid, signal.SIGTERM)
    ended(server.pid)

    assert server.check() is True
    assert accepts(server.dsn)


def test_an_attached_process_leaves_a_dead_server_to_the_owner_who_lives(
    server: EmbeddedServer, neighbour: NewNeighbour
) -> None:
    other = neighbour(server.data_dir)
    other.start()
    kill_server(server)

    assert other.check()["restarted"] is False
    assert server.check() is True


def test_a_pid_file_whose_pid_nobody_has(crashed: Path) -> None:
    with EmbeddedServer(crashed) as server:
        assert kept(server.dsn) == 41


def test_a_pid_file_whose_pid_is_another_living_process(crashed: Path, foreign: subprocess.Popen[bytes]) -> None:
    rewrite_pid(crashed / "pg18" / "postmaster.pid", foreign.pid)
    rewrite_pid(crashed / "run" / ".s.PGSQL.5432.lock", foreign.pid)

    with EmbeddedServer(crashed) as server:
        assert server.pid != foreign.pid
        assert kept(server.dsn) == 41
    assert foreign.poll() is None


def test_a_pid_file_whose_pid_is_our_own(crashed: Path) -> None:
    rewrite_pid(crashed / "pg18" / "postmaster.pid", os.getpid())

    with EmbeddedServer(crashed) as server:
        assert kept(server.dsn) == 41


def test_a_pid_file_whose_pid_is_the_server_of_another_directory(crashed: Path, place: Path) -> None:
    with EmbeddedServer(place / "other") as other:
        assert other.pid is not None
        rewrite_pid(crashed / "pg18" / "postmaster.pid", other.pid)

        with EmbeddedServer(crashed) as server:
            assert server.pid != other.pid
            assert kept(server.dsn) == 41
        assert other.check() is False
        assert accepts(other.dsn)


@pytest.mark.parametrize("content", ["", "\n", "soon\n", "4194304999\n", "-1\n"])
def test_a_damaged_pid_file(crashed: Path, content: str) -> None:
    (crashed / "pg18" / "postmaster.pid").write_text(content)

    with EmbeddedServer(crashed) as server:
        assert kept(server.dsn) == 41


def test_a_dead_server_that_nobody_reaped_is_not_taken_for_a_living_one(
    data_dir: Path, neighbour: NewNeighbour
) -> None:
    libc = ctypes.CDLL(None)
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)  # what the owner leaves behind becomes ours, and we do not reap it
    try:
        owner = neighbour(data_dir)
        started = owner.start()
        keep(started["dsn"], 41)
        os.kill(started["pid"], signal.SIGKILL)
        owner.kill()
        zombie = started["pid"]
        ended(zombie)
        assert Path(f"/proc/{zombie}/stat").read_text().rpartition(")")[2].split()[0] == "Z"

        with EmbeddedServer(data_dir) as server:
            assert kept(server.dsn) == 41
    finally:
        libc.prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)
        reap_adopted()


def reap_adopted() -> None:
    """Take away the zombies that became ours: those of PostgreSQL are no children of anything that we started."""
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            name, _, rest = entry.read_text().partition("(")[2].rpartition(")")
        except OSError:
            continue
        state, parent = rest.split()[:2]
        if name == "postgres" and state == "Z" and int(parent) == os.getpid():
            os.waitpid(int(entry.parent.name), 0)


@pytest.fixture
def survivor(data_dir: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A server without an owner, as a system leaves it that does not end it with its owner."""
    with EmbeddedServer(data_dir) as server:
        assert server.pid is not None
        command = command_of(server.pid)
        keep(server.dsn, 41)
    with (
        (data_dir / "postgres.log").open("ab") as log,
        subprocess.Popen(command, stderr=log, cwd="/", **as_server(data_dir)) as process,
    ):
        until(lambda: accepts(server.dsn), "the server is ready")
        yield process
        process.kill()


def test_a_server_that_survived_its_owner_is_adopted(data_dir: Path, survivor: subprocess.Popen[bytes]) -> None:
    with EmbeddedServer(data_dir) as server:
        assert (server.is_owner, server.pid) == (True, survivor.pid)
        assert server.check() is False
        assert kept(server.dsn) == 41

    assert survivor.poll() == 0


def test_an_adopted_server_that_dies_is_started_again(data_dir: Path, survivor: subprocess.Popen[bytes]) -> None:
    with EmbeddedServer(data_dir) as server:
        survivor.kill()
        survivor.wait()

        assert server.check() is True
        assert kept(server.dsn) == 41


def test_a_server_that_is_still_going_down_is_waited_for(data_dir: Path, neighbour: NewNeighbour) -> None:
    owner = neighbour(data_dir)
    started = owner.start()
    keep(started["dsn"], 41)

    owner.kill()
    with EmbeddedServer(data_dir) as server:
        assert server.pid != started["pid"]
        assert kept(server.dsn) == 41


def test_a_server_that_somebody_else_started_in_our_directory_is_named(
    data_dir: Path, survivor: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasker_host.db.embedded.owned._SILENT_SECONDS", 0.1)
    (data_dir / "run" / ".s.PGSQL.5432").unlink()  # it listens elsewhere

    with pytest.raises(EmbeddedUnavailable, match=rf"stop it \(kill -INT {survivor.pid}\)"):
        EmbeddedServer(data_dir).start()

    assert alive(survivor.pid)


def test_a_silent_listener_on_the_socket_is_not_a_server(crashed: Path) -> None:
    path = crashed / "run" / ".s.PGSQL.5432"
    path.unlink()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        with EmbeddedServer(crashed) as server:
            assert kept(server.dsn) == 41
