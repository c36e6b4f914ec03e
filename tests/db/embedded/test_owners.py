"""One process owns the server, others attach; the server ends with its owner, whatever way that goes."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from threading import Thread

import pytest

from tasker_host.db.embedded import EmbeddedServer
from tests.db.embedded.support import Neighbour, accepts, alive, ended, execute, keep, kept, until

NewNeighbour = Callable[..., Neighbour]


def shut_down_cleanly(data_dir: Path) -> bool:
    last = (data_dir / "postgres.log").read_text().splitlines()[-1]
    return last.endswith("database system is shut down") and not (data_dir / "pg18" / "postmaster.pid").exists()


def test_a_second_process_attaches(server: EmbeddedServer, neighbour: NewNeighbour) -> None:
    keep(server.dsn, 41)

    other = neighbour(server.data_dir).start()

    assert other == {"is_owner": False, "pid": None, "dsn": server.dsn, "version": list(server.version or ())}
    assert kept(other["dsn"]) == 41


def test_a_second_object_in_the_same_process_attaches(server: EmbeddedServer) -> None:
    with EmbeddedServer(server.data_dir) as second:
        assert not second.is_owner

    assert server.is_owner
    assert accepts(server.dsn)


@pytest.mark.parametrize("last_command", ["stop", "look"], ids=["after stop()", "without stop()"])
def test_the_end_of_an_attached_process_does_not_touch_the_server(
    server: EmbeddedServer, neighbour: NewNeighbour, last_command: str
) -> None:
    other = neighbour(server.data_dir)
    other.start()
    other.ask(last_command)
    other.end()

    assert not server.check()
    assert accepts(server.dsn)


def test_the_server_ends_with_an_owner_that_just_ends(data_dir: Path, neighbour: NewNeighbour) -> None:
    owner = neighbour(data_dir)
    pid = owner.start()["pid"]

    owner.end()

    assert not alive(pid)
    assert shut_down_cleanly(data_dir)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGHUP], ids=lambda number: number.name)
def test_the_server_shuts_down_when_its_owner_is_killed(
    data_dir: Path, neighbour: NewNeighbour, number: signal.Signals
) -> None:
    owner = neighbour(data_dir)
    pid = owner.start()["pid"]

    owner.kill(number)

    assert ended(pid)
    assert shut_down_cleanly(data_dir)


def test_ctrl_c_in_a_terminal_reaches_the_owner_and_only_through_it_the_server(
    data_dir: Path, neighbour: NewNeighbour
) -> None:
    owner = neighbour(data_dir)
    pid = owner.start()["pid"]
    assert os.getsid(pid) == pid

    owner.signal_group(signal.SIGINT)

    assert not alive(pid)
    assert shut_down_cleanly(data_dir)


@pytest.mark.parametrize("way", ["end", "kill"])
def test_an_attached_process_succeeds_the_owner(data_dir: Path, neighbour: NewNeighbour, way: str) -> None:
    owner, heir = neighbour(data_dir), neighbour(data_dir)
    dsn = owner.start()["dsn"]
    keep(dsn, 41)
    assert heir.start()["is_owner"] is False
    assert heir.check()["restarted"] is False

    getattr(owner, way)()
    after = heir.check()

    assert (after["restarted"], after["is_owner"], after["dsn"]) == (True, True, dsn)
    assert kept(dsn) == 41


def test_of_several_attached_processes_one_succeeds(data_dir: Path, neighbour: NewNeighbour) -> None:
    owner, *heirs = (neighbour(data_dir) for _ in range(3))
    dsn = owner.start()["dsn"]
    for heir in heirs:
        heir.start()

    owner.kill()
    for heir in heirs:
        heir.tell("check")
    after = [heir.answer() for heir in heirs]

    assert sorted(answer["is_owner"] for answer in after) == [False, True]
    until(lambda: accepts(dsn), "the server of the new owner answers")


def test_processes_that_start_at_the_same_instant_share_one_server(place: Path, neighbour: NewNeighbour) -> None:
    several = [neighbour(place / "made" / "on" / "the" / "way") for _ in range(3)]

    for process in several:
        process.tell("start")
    answers = [process.answer() for process in several]

    assert sorted(answer["is_owner"] for answer in answers) == [False, False, True]
    assert all(accepts(answer["dsn"]) for answer in answers)


def test_the_server_outlives_the_thread_that_started_it(data_dir: Path) -> None:
    server = EmbeddedServer(data_dir)
    thread = Thread(target=server.start)
    thread.start()
    thread.join()

    with server:
        execute(server.dsn, "checkpoint")
        assert not server.check()
        assert "shutdown request" not in server.log_path.read_text()


def test_who_cannot_attach_is_told_whom_to_ask(data_dir: Path, neighbour: NewNeighbour) -> None:
    owner = neighbour(data_dir)
    server_pid = owner.start()["pid"]
    os.kill(server_pid, signal.SIGKILL)
    ended(server_pid)

    with pytest.raises(Exception, match="belongs to another process") as refused:
        EmbeddedServer(data_dir, start_timeout_seconds=0.1).start()

    assert f"(pid {owner.pid})" in str(refused.value)
    assert str(data_dir / "postgres.log") in str(refused.value)
