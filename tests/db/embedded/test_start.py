"""What a started server is like, and what is said when it cannot start."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from tasker_host.db.embedded import EmbeddedServer, find_binaries, temporary_data_dir
from tasker_host.errors import EmbeddedUnavailable
from tests.db.embedded.support import accepts, alive, execute, keep, kept, postgres_in


@pytest.fixture(scope="module")
def own() -> Iterator[EmbeddedServer]:
    """A server as users get it, with no options; only to be asked."""
    with temporary_data_dir() as data_dir, EmbeddedServer(data_dir) as server:
        yield server


def test_a_server_from_nothing(place: Path) -> None:
    server = EmbeddedServer(place / "data")

    assert server.start() == server.dsn

    assert (server.is_owner, server.pid in postgres_in(place)) == (True, True)
    assert server.version == find_binaries().version
    assert execute(server.dsn, "select current_user || ' ' || current_database()") == "postgres postgres"
    server.stop()
    assert postgres_in(place) == []
    assert (server.is_owner, server.pid) == (False, None)


def test_what_was_committed_is_there_after_a_stop_and_a_start(server: EmbeddedServer) -> None:
    keep(server.dsn, 41)

    server.stop()
    server.start()

    assert kept(server.dsn) == 41


def test_start_and_stop_twice_are_start_and_stop_once(data_dir: Path) -> None:
    server = EmbeddedServer(data_dir)
    server.start()
    before = server.pid
    server.start()
    assert server.pid == before

    server.stop()
    server.stop()

    assert server.check() is False
    assert postgres_in(data_dir) == []


def test_an_object_that_was_never_started_does_nothing(data_dir: Path) -> None:
    server = EmbeddedServer(data_dir)

    assert (server.check(), server.is_owner, server.pid) == (False, False, None)
    server.stop()


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("listen_addresses", ""),
        ("fsync", "on"),
        ("synchronous_commit", "on"),
        ("full_page_writes", "on"),
        ("data_checksums", "on"),
        ("unix_socket_permissions", "0700"),
        ("jit", "off"),
        ("server_encoding", "UTF8"),
        ("TimeZone", "UTC"),
    ],
)
def test_a_setting_of_the_server(own: EmbeddedServer, setting: str, value: str) -> None:
    assert execute(own.dsn, f"show {setting}") == value


def test_text_sorts_the_same_on_every_machine(own: EmbeddedServer) -> None:
    assert execute(own.dsn, "select string_agg(x, '' order by x) from unnest('{b,B,a,A,é,_}'::text[]) x") == "AB_abé"
    assert execute(own.dsn, "select datlocprovider from pg_database where datname = 'template1'") == b"b"


def test_options_are_handed_to_the_server(data_dir: Path) -> None:
    with EmbeddedServer(data_dir, options={"work_mem": "7MB", "application_name": 'it\'s, "quoted"'}) as server:
        assert execute(server.dsn, "show work_mem") == "7MB"
        assert execute(server.dsn, "select boot_val from pg_settings where name = 'port'") == "5432"


def test_options_cannot_move_the_server_away_from_its_socket(data_dir: Path) -> None:
    with EmbeddedServer(data_dir, options={"port": "1", "listen_addresses": "*"}) as server:
        assert execute(server.dsn, "show listen_addresses") == ""


def test_the_environment_of_the_host_does_not_reach_the_server(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("PGDATA=/nowhere", "PGPORT=1", "LC_ALL=xx_XX", "TZ=Nowhere/Else", "SECRET=s"):
        monkeypatch.setenv(*variable.split("="))

    with EmbeddedServer(data_dir) as server:
        execute(server.dsn, """copy (select 1) to program 'cat > /dev/null; test -z "$SECRET"'""")
        assert execute(server.dsn, "show timezone") == "UTC"


def test_a_setting_that_postgresql_refuses_is_quoted_and_nothing_stays(data_dir: Path) -> None:
    with pytest.raises(EmbeddedUnavailable) as refused:
        EmbeddedServer(data_dir, options={"no_such_setting": "1"}).start()

    message = str(refused.value)
    assert message.startswith(
        f"PostgreSQL did not start in {data_dir}/pg18 (exit code 1), see {data_dir}/postgres.log:\n"
    )
    assert 'unrecognized configuration parameter "no_such_setting"' in message
    assert postgres_in(data_dir) == []
    with EmbeddedServer(data_dir) as server:
        assert accepts(server.dsn)


def test_a_damaged_data_directory_is_reported_with_the_words_of_postgresql(place: Path) -> None:
    with EmbeddedServer(place / "data"):
        pass
    (place / "data" / "pg18" / "global" / "pg_control").unlink()

    with pytest.raises(EmbeddedUnavailable, match="could not find the database system"):
        EmbeddedServer(place / "data").start()


def test_an_error_of_initdb_is_quoted_and_nothing_stays(place: Path) -> None:
    broken = place / "bin"
    broken.mkdir()
    (broken / "postgres").write_text('#!/bin/sh\necho "postgres (PostgreSQL) 18.0"\n')
    (broken / "initdb").write_text('#!/bin/sh\n[ "$1" = --version ] && exit\necho "the disk is on fire" >&2\nexit 3\n')
    for program in broken.iterdir():
        program.chmod(0o755)

    with pytest.raises(
        EmbeddedUnavailable, match=r"initdb of PostgreSQL 18.0 .* \(exit code 3\):\n  the disk is on fire"
    ):
        EmbeddedServer(place / "data", binaries=broken).start()

    assert not list((place / "data").glob("init*"))
    with EmbeddedServer(place / "data") as server:
        assert accepts(server.dsn)


def test_stop_ends_a_server_that_clients_are_connected_to(server: EmbeddedServer) -> None:
    async def connected() -> int:
        connection = await asyncpg.connect(server.dsn)
        pid = server.pid
        assert pid is not None
        await asyncio.to_thread(server.stop)
        connection.terminate()
        return pid

    assert not alive(asyncio.run(connected()))
