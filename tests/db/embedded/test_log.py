"""The log of the server stays small, and loses nothing that matters."""

from __future__ import annotations

from pathlib import Path

import asyncpg
import pytest

from tasker_host.db.embedded import EmbeddedServer
from tasker_host.db.embedded.log import LIMIT_BYTES, ServerLog
from tests.db.embedded.support import execute


def complain(server: EmbeddedServer, word: str) -> None:
    """Make the server write an error with the word into its log."""
    with pytest.raises(asyncpg.PostgresError):
        execute(server.dsn, f"select {word}()")


def test_check_moves_a_log_over_the_limit_away_and_the_server_writes_on(server: EmbeddedServer) -> None:
    complain(server, "before")
    with server.log_path.open("ab") as log:
        log.truncate(LIMIT_BYTES + 1)

    assert server.check() is False
    complain(server, "after")

    old, new = server.log_path.with_name("postgres.log.1"), server.log_path
    assert old.stat().st_size == LIMIT_BYTES + 1
    assert "before()" in old.read_text()
    assert "after()" in new.read_text()
    assert "before()" not in new.read_text()
    assert "\0" not in new.read_text()  # no hole: it wrote at the new end, not at the old one


def test_a_log_within_the_limit_stays(server: EmbeddedServer) -> None:
    complain(server, "before")

    server.check()

    assert "before()" in server.log_path.read_text()
    assert not server.log_path.with_name("postgres.log.1").exists()


def test_the_log_before_the_last_one_is_dropped(tmp_path: Path) -> None:
    log = ServerLog(tmp_path / "postgres.log")
    for content in ("first\n", "second\n", "third\n"):
        log.path.write_text(content)
        log.bound(limit_bytes=3)

    assert (tmp_path / "postgres.log.1").read_text() == "third\n"
    assert log.path.read_text() == ""
    assert len(list(tmp_path.iterdir())) == 2


def test_a_log_that_is_gone_is_nothing_to_bound(tmp_path: Path) -> None:
    ServerLog(tmp_path / "postgres.log").bound()

    assert list(tmp_path.iterdir()) == []
