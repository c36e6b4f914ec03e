"""Where the data goes: every path that a user can write down works, or is refused with a way out."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from tasker_host.db.embedded import EmbeddedServer, default_data_dir, places, temporary_data_dir
from tasker_host.errors import EmbeddedUnavailable
from tests.db.embedded.support import AS_ROOT, FAST, Neighbour, accepts

NewNeighbour = Callable[..., Neighbour]


@pytest.mark.parametrize(
    "name",
    [
        "with some spaces",
        """it's "quoted" \\ and, separated""",
        "a&b=c?d#e%20f:g@h straße-データ",
        "a\nline",
        os.fsdecode(b"not-\xff-utf8"),
        "deep/" * 20 + "x" * 200,
    ],
    ids=["spaces", "quotes", "url", "newline", "bytes", "long"],
)
def test_a_data_directory_of_any_name(place: Path, name: str, neighbour: NewNeighbour) -> None:
    data_dir = place / name

    with EmbeddedServer(data_dir, options=FAST) as server:
        assert (data_dir / "pg18" / "postmaster.pid").exists()
        assert accepts(server.dsn)
        assert neighbour(data_dir, TMPDIR="/nonexistent").start()["is_owner"] is False

    outside = places.socket_dir(data_dir.resolve())
    assert outside == data_dir.resolve() / "run" or not outside.exists()


def test_two_spellings_of_a_directory_are_one(server: EmbeddedServer, place: Path) -> None:
    (place / "link").symlink_to(server.data_dir)

    with EmbeddedServer(place / "." / "link", options=FAST) as second:
        assert not second.is_owner
        assert second.dsn == server.dsn


def test_a_relative_directory_and_one_of_the_home(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(data_dir.parent)
    monkeypatch.setenv("HOME", str(data_dir.parent))

    assert EmbeddedServer(Path("data")).data_dir == data_dir.resolve()
    assert EmbeddedServer(Path("~/data")).data_dir == data_dir.resolve()


def test_directories_that_are_made_are_private(place: Path) -> None:
    with EmbeddedServer(place / "a" / "b"):
        ours = 0o711 if AS_ROOT else 0o700
        assert [stat.S_IMODE((place / made).stat().st_mode) for made in ("a", "a/b", "a/b/pg18", "a/b/run")] == [
            ours,
            ours,
            0o700,
            0o700,
        ]
        assert {stat.S_IMODE((place / "a/b" / made).stat().st_mode) for made in ("host.lock", "postgres.log")} == {
            0o600
        }


def test_a_directory_that_cannot_be_written(
    place: Path, neighbour: NewNeighbour, as_ordinary_user: tuple[str, ...]
) -> None:
    (place / "closed").mkdir()
    (place / "closed").chmod(0o555)
    user = neighbour(place / "closed" / "data", before=as_ordinary_user)

    answer = user.start()

    assert answer["error"] == (
        f"the embedded PostgreSQL cannot use {place}/closed/data: [Errno 13] Permission denied: '{place}/closed/data':"
        " set database.data_dir to a directory which this process may write, or DATABASE_URL to a PostgreSQL server"
    )


def test_a_directory_of_another_user(
    data_dir: Path, neighbour: NewNeighbour, as_ordinary_user: tuple[str, ...]
) -> None:
    if not AS_ROOT:
        pytest.skip("only root can make a directory of another user")
    user = neighbour(data_dir, before=as_ordinary_user)

    assert "Permission denied" in user.start()["error"]


@pytest.mark.parametrize("name", ["file", "file/below"])
def test_a_file_in_the_place_of_the_directory(place: Path, name: str) -> None:
    (place / "file").write_text("mine")

    with pytest.raises(
        EmbeddedUnavailable, match=r"set database\.data_dir to a directory which this process may write"
    ):
        EmbeddedServer(place / name).start()

    assert (place / "file").read_text() == "mine"


def test_a_dangling_link_in_the_place_of_the_directory(place: Path) -> None:
    (place / "link").symlink_to(place / "elsewhere")

    with EmbeddedServer(place / "link", options=FAST) as server:
        assert server.data_dir == place / "elsewhere"


def test_the_data_directory_of_somebody_elses_postgresql_is_not_touched(data_dir: Path) -> None:
    theirs = data_dir / "pg18"
    before = sorted(path.name for path in theirs.iterdir())

    with pytest.raises(EmbeddedUnavailable, match="is itself a data directory of PostgreSQL"):
        EmbeddedServer(theirs).start()

    assert sorted(path.name for path in theirs.iterdir() if path.name != "host.lock") == before


def test_an_initialisation_that_was_interrupted_is_begun_anew(place: Path) -> None:
    (place / "data" / "init4711").mkdir(parents=True)
    (place / "data" / "init4711" / "PG_VERSION").write_text("18\n")
    if AS_ROOT:
        (place / "data").chmod(0o711)

    with EmbeddedServer(place / "data", options=FAST) as server:
        assert accepts(server.dsn)

    assert sorted(path.name for path in (place / "data").iterdir()) == ["host.lock", "pg18", "postgres.log", "run"]


@pytest.mark.parametrize(
    ("content", "found"), [({}, "there is no PG_VERSION"), ({"PG_VERSION": "16\n"}, "the data of PostgreSQL 16")]
)
def test_a_directory_in_the_place_of_ours_that_is_not_ours(place: Path, content: dict[str, str], found: str) -> None:
    (place / "data" / "pg18").mkdir(parents=True)
    for name, text in content.items():
        (place / "data" / "pg18" / name).write_text(text)

    with pytest.raises(EmbeddedUnavailable, match=found):
        EmbeddedServer(place / "data").start()


class TestSocketDirectory:
    def test_it_is_inside_while_the_path_of_the_socket_fits(self) -> None:
        fits = Path("/" + "x" * (107 - len("//run/.s.PGSQL.5432")))

        assert places.socket_dir(fits) == fits / "run"
        assert places.socket_dir(fits.with_name(fits.name + "x")).parent == Path("/tmp")

    def test_it_is_counted_in_bytes(self) -> None:
        assert places.socket_dir(Path("/" + "ü" * 60)).parent == Path("/tmp")

    def test_each_data_directory_has_its_own(self) -> None:
        assert places.socket_dir(Path("/" + "x" * 200)) != places.socket_dir(Path("/" + "x" * 201))

    @pytest.mark.parametrize("kind", ["open directory", "link", "file"])
    def test_what_somebody_else_put_in_its_place_is_refused(self, place: Path, kind: str) -> None:
        data_dir = place / ("x" * 120)
        squatted = places.socket_dir(data_dir)
        match kind:
            case "open directory":
                squatted.mkdir()
                squatted.chmod(0o777)
            case "link":
                (place / "theirs").mkdir(mode=0o700)
                squatted.symlink_to(place / "theirs")
            case _:
                squatted.touch(mode=0o600)
        try:
            with pytest.raises(EmbeddedUnavailable, match=r"remove it, or set database\.data_dir"):
                EmbeddedServer(data_dir).start()
        finally:
            squatted.rmdir() if kind == "open directory" else squatted.unlink()


class TestDefaultDirectory:
    def test_it_follows_xdg(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("XDG_DATA_HOME", "/data/of/mine")

        assert default_data_dir() == Path("/data/of/mine/tasker-host")

    @pytest.mark.parametrize("given", ["", "relative/data"])
    def test_what_the_xdg_standard_calls_invalid_is_ignored(self, monkeypatch: pytest.MonkeyPatch, given: str) -> None:
        monkeypatch.setenv("XDG_DATA_HOME", given)
        monkeypatch.setattr(os, "geteuid", lambda: 1000)
        monkeypatch.setenv("HOME", "/home/me")

        assert default_data_dir() == Path("/home/me/.local/share/tasker-host")

    def test_roots_is_where_the_servers_account_can_reach_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("XDG_DATA_HOME", raising=False)
        monkeypatch.setattr(os, "geteuid", lambda: 0)

        assert default_data_dir() == Path("/var/lib/tasker-host")

    def test_a_user_without_a_home_is_told_what_to_set(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("XDG_DATA_HOME", raising=False)
        monkeypatch.delenv("HOME", raising=False)
        monkeypatch.setattr(os, "geteuid", lambda: 54321)
        monkeypatch.setattr(os, "getuid", lambda: 54321)

        with pytest.raises(EmbeddedUnavailable, match=r"uid 54321 has no home directory .* set database\.data_dir"):
            default_data_dir()


class TestTemporaryDirectory:
    def test_it_follows_tmpdir_and_is_removed(self, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("TMPDIR", str(place))
        monkeypatch.setattr("tempfile.tempdir", None)  # where it keeps the answer of before

        with temporary_data_dir() as data_dir:
            assert data_dir.parent == place
            (data_dir / "pg18").mkdir()
        assert list(place.iterdir()) == []

    def test_roots_is_elsewhere_when_tmpdir_is_closed_to_the_servers_account(
        self, place: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        if not AS_ROOT:
            pytest.skip("an ordinary user runs the server as itself")
        (place / "closed").mkdir(mode=0o700)
        monkeypatch.setenv("TMPDIR", str(place / "closed"))
        monkeypatch.setattr("tempfile.tempdir", None)

        with temporary_data_dir() as data_dir, EmbeddedServer(data_dir) as server:
            assert accepts(server.dsn)
        assert not data_dir.exists()


def test_root_is_told_which_directory_the_servers_account_cannot_pass(place: Path) -> None:
    if not AS_ROOT:
        pytest.skip("an ordinary user runs the server as itself")
    (place / "closed").mkdir(mode=0o700)

    with pytest.raises(EmbeddedUnavailable, match=rf"may not pass {place}/closed on the way to {place}/closed/data:"):
        EmbeddedServer(place / "closed" / "data").start()

    assert stat.S_IMODE((place / "closed").stat().st_mode) == 0o700
    shutil.rmtree(place / "closed")
