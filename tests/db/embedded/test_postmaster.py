"""Signals to a server, and telling a living one from what only looks like it."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from tasker_host.db.embedded import EmbeddedServer
from tasker_host.db.embedded.postmaster import Postmaster, read_pid_file, runs_here


@pytest.mark.parametrize(
    ("deaf_to", "ended_by"),
    [((), signal.SIGINT), (("INT",), signal.SIGQUIT)],
    ids=["the polite one suffices", "the next one follows"],
)
def test_shutting_down(tmp_path: Path, deaf_to: tuple[str, ...], ended_by: signal.Signals) -> None:
    deafened = "".join(f"trap '' {name}; " for name in deaf_to)
    command = ["sh", "-c", f"{deafened}echo ready; exec cat"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()

        Postmaster(child.pid, tmp_path, child).shut_down(0.1)

        assert child.returncode == -ended_by


def test_a_server_runs_in_its_own_directory_only(server: EmbeddedServer, tmp_path: Path) -> None:
    assert server.pid is not None

    assert runs_here(server.pid, server.data_dir / "pg18")
    assert not runs_here(server.pid, tmp_path)
    assert not runs_here(os.getpid(), Path.cwd())


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("71\n/data\n1\n5432\n/run\n\n 1 2\nready   \n", (71, True)),
        ("71\n/data\n1\n5432\n/run\n\n 1 2\nstarting\n", (71, False)),
        ("71\n/da", (71, False)),
        ("-71\n", (71, False)),
        ("", None),
        ("\n", None),
        ("soon\n", None),
    ],
)
def test_a_pid_file_as_far_as_it_is_written(tmp_path: Path, content: str, expected: tuple[int, bool] | None) -> None:
    (tmp_path / "postmaster.pid").write_text(content)

    found = read_pid_file(tmp_path)

    assert (found and (found.pid, found.ready)) == expected


def test_no_pid_file(tmp_path: Path) -> None:
    assert read_pid_file(tmp_path) is None
    assert read_pid_file(tmp_path / "nowhere") is None
