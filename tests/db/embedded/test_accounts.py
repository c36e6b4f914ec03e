"""Root lends the server an account that exists; an ordinary user runs it as itself. Nothing else changes."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from tasker_host.db.embedded import EmbeddedServer, find_binaries
from tasker_host.db.embedded import account as accounts
from tasker_host.db.embedded.account import server_account
from tasker_host.db.embedded.reach import within_reach
from tasker_host.errors import EmbeddedUnavailable
from tests.db.embedded.support import AS_ROOT, FAST, Neighbour, accepts, ended, keep, kept

NewNeighbour = Callable[..., Neighbour]
only_root = pytest.mark.skipif(not AS_ROOT, reason="what root does differently")


def owners_and_modes(*directories: Path) -> dict[Path, tuple[int, int, int]]:
    """Of the directories and all above them."""
    every = {part for directory in directories for part in (directory, *directory.parents)}
    return {part: (found.st_uid, found.st_gid, found.st_mode) for part in sorted(every) for found in [part.stat()]}


@pytest.fixture
def users_place(place: Path, as_ordinary_user: tuple[str, ...]) -> Path:
    """A directory in which the ordinary user may write."""
    home = place / "home"
    home.mkdir()
    home.chmod(0o777)
    return home


@pytest.fixture
def as_user(neighbour: NewNeighbour, as_ordinary_user: tuple[str, ...], users_programs: str) -> NewNeighbour:
    """Makes processes of the ordinary user."""
    return partial(neighbour, before=as_ordinary_user, NEIGHBOUR_PROGRAMS=users_programs)


def test_an_ordinary_user(users_place: Path, as_user: NewNeighbour) -> None:
    user = as_user(users_place / "data")

    started = user.start()

    assert started["is_owner"] is True
    keep(started["dsn"], 41)
    server = Path(f"/proc/{started['pid']}").stat()
    assert server.st_uid == Path(f"/proc/{user.pid}").stat().st_uid != 0
    assert {path.stat().st_uid for path in (users_place / "data").rglob("*")} == {server.st_uid}
    user.kill()
    assert ended(started["pid"])
    assert not (users_place / "data" / "pg18" / "postmaster.pid").exists()


def test_an_ordinary_users_second_process(users_place: Path, as_user: NewNeighbour) -> None:
    owner, other = (as_user(users_place / "data") for _ in range(2))
    owner.start()

    assert other.start()["is_owner"] is False
    owner.kill()
    after = other.check()

    assert (after["restarted"], after["is_owner"]) == (True, True)


@only_root
def test_root_changes_no_account_and_no_foreign_directory(place: Path) -> None:
    foreign = (place, find_binaries().bin_dir, Path(__file__).parent, Path.home(), Path("/var/lib"))
    before = owners_and_modes(*foreign), Path("/etc/passwd").read_bytes(), Path("/etc/group").read_bytes()

    with EmbeddedServer(place / "data", options=FAST) as server:
        assert accepts(server.dsn)

    assert (owners_and_modes(*foreign), Path("/etc/passwd").read_bytes(), Path("/etc/group").read_bytes()) == before


@pytest.fixture
def in_another_group() -> Iterator[None]:
    """We are in one more group, as root of a login session is."""
    before = os.getgroups()
    os.setgroups([*before, 4])
    yield
    os.setgroups(before)


@only_root
@pytest.mark.usefixtures("in_another_group")
def test_roots_server_runs_as_an_account_without_rights(data_dir: Path, server: EmbeddedServer) -> None:
    status = dict(
        line.split(":", 1) for line in Path(f"/proc/{server.pid}/status").read_text().splitlines() if ":" in line
    )

    assert "0" not in status["Uid"].split() + status["Gid"].split()
    assert status["Groups"].split() == []
    assert int(status["CapEff"], 16) == 0
    assert (data_dir / "pg18").stat().st_uid == int(status["Uid"].split()[0])


@only_root
def test_root_serves_the_data_of_an_ordinary_user_as_that_user(users_place: Path, as_user: NewNeighbour) -> None:
    user = as_user(users_place / "data")
    keep(user.start()["dsn"], 41)
    user.end()
    owner = (users_place / "data").stat().st_uid

    users_place.joinpath("data").chmod(0o700)
    with EmbeddedServer(users_place / "data", options=FAST) as server:
        assert kept(server.dsn) == 41

    assert {path.stat().st_uid for path in (users_place / "data").rglob("*")} == {owner}
    again = as_user(users_place / "data")
    assert again.start()["is_owner"] is True


@only_root
def test_data_of_root_itself_is_refused(place: Path) -> None:
    (place / "data" / "pg18").mkdir(parents=True)
    (place / "data" / "pg18" / "PG_VERSION").write_text("18\n")

    with pytest.raises(EmbeddedUnavailable, match=r"belongs to root, and PostgreSQL does not run as root: chown -R"):
        EmbeddedServer(place / "data").start()


def test_root_on_a_system_with_no_account_to_lend(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(accounts, "_LENT", ("no-such-account", "root"))

    with pytest.raises(EmbeddedUnavailable, match="start the host as an ordinary user, or set DATABASE_URL"):
        server_account(place / "pg18")


def test_data_of_somebody_else(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 54321)

    with pytest.raises(EmbeddedUnavailable, match="this process runs as uid 54321: run it as the owner"):
        server_account(place)


def test_a_user_whom_the_system_does_not_know(
    users_place: Path, neighbour: NewNeighbour, as_ordinary_user: tuple[str, ...]
) -> None:
    if not AS_ROOT:
        pytest.skip("only root can become a user that does not exist")
    stranger = tuple(part.replace("--reuid=nobody", "--reuid=54321") for part in as_ordinary_user)
    user = neighbour(users_place / "data", before=stranger)

    assert "runs as uid 54321, which has no entry in /etc/passwd" in user.start()["error"]
    assert not list((users_place / "data").glob("pg*"))


@only_root
class TestProgramsOutOfReach:
    """As those of a virtual environment below /root are for the account of the server."""

    @pytest.fixture
    def closed(self, place: Path) -> Path:
        """The programs on a way through a closed directory, which another account cannot go."""
        bin_dir = find_binaries().bin_dir
        packages = bin_dir.parents[2]
        (place / "venv").mkdir(mode=0o700)
        (place / "venv" / "packages").symlink_to(packages)
        return place / "venv" / "packages" / bin_dir.relative_to(packages)

    def test_they_are_copied_once_and_the_copy_runs(self, place: Path, closed: Path) -> None:
        found, account = find_binaries(closed), server_account(place / "none")
        before = owners_and_modes(closed)

        copy = within_reach(found, account, keep_in=place / "kept")
        made = copy.bin_dir.stat().st_ino
        again = within_reach(found, account, keep_in=place / "kept")

        assert copy.bin_dir.is_relative_to(place / "kept")
        assert (again.bin_dir, again.bin_dir.stat().st_ino) == (copy.bin_dir, made)
        assert owners_and_modes(closed) == before
        with EmbeddedServer(place / "data", binaries=copy.bin_dir, options=FAST) as server:
            assert accepts(server.dsn)

    def test_what_a_strict_umask_has_closed_is_open_in_the_copy(self, place: Path) -> None:
        prefix = place / "closed" / "package" / "installed"
        before = os.umask(0o077)
        try:
            for name in ("bin", "lib", "share"):
                (prefix / name).mkdir(parents=True)
            for program in ("postgres", "initdb"):
                (prefix / "bin" / program).write_text("#!/bin/sh\ncat ${0%/*}/../share/version")
                (prefix / "bin" / program).chmod(0o700)
            (prefix / "share" / "version").write_text("postgres (PostgreSQL) 18.4")

            copy = within_reach(find_binaries(prefix), server_account(place / "none"), keep_in=place / "made" / "kept")
        finally:
            os.umask(before)

        assert copy.bin_dir.is_relative_to(place / "made" / "kept")
        assert stat.S_IMODE(prefix.stat().st_mode) == 0o700

    def test_a_copy_that_cannot_be_reached_either(self, place: Path, closed: Path) -> None:
        (place / "kept").mkdir(mode=0o700)

        with pytest.raises(EmbeddedUnavailable, match="can run neither"):
            within_reach(find_binaries(closed), server_account(place / "none"), keep_in=place / "kept")

        assert stat.S_IMODE((place / "kept").stat().st_mode) == 0o700


def test_programs_within_reach_are_not_copied(place: Path) -> None:
    account = server_account(place / "none")
    found = within_reach(find_binaries(), account, keep_in=place / "first")

    assert within_reach(found, account, keep_in=place / "second") is found
    assert not (place / "second").exists()
