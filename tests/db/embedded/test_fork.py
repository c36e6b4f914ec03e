"""A forked child of the owner is not the owner: it neither takes the server along nor keeps the lock."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tasker_host.db.embedded import EmbeddedServer
from tests.db.embedded.support import Neighbour, accepts, ended, keep, kept

NewNeighbour = Callable[..., Neighbour]


def test_the_end_of_a_forked_child_does_not_touch_the_server(data_dir: Path, neighbour: NewNeighbour) -> None:
    owner = neighbour(data_dir)
    started = owner.start()

    after = owner.ask("fork")

    assert [(told["is_owner"], told["pid"]) for told in after["child"]] == [(False, None), (False, None)]
    assert (after["is_owner"], after["pid"]) == (True, started["pid"])
    assert owner.check()["restarted"] is False
    assert accepts(started["dsn"])


def test_a_forked_child_may_attach(data_dir: Path, neighbour: NewNeighbour) -> None:
    owner = neighbour(data_dir)
    started = owner.start()

    after = owner.ask("fork_and_start")

    attached, stopped = after["child"]
    assert attached == {**started, "is_owner": False, "pid": None}
    assert stopped == attached
    assert owner.check()["restarted"] is False
    assert accepts(started["dsn"])


@pytest.mark.parametrize("stay", ["fork_and_stay", "run_and_stay"])
def test_what_the_owner_started_does_not_keep_the_lock_after_it(
    data_dir: Path, neighbour: NewNeighbour, stay: str
) -> None:
    owner = neighbour(data_dir)
    keep(owner.start()["dsn"], 41)
    child = owner.ask(stay)["child"]
    try:
        owner.kill()

        with EmbeddedServer(data_dir, start_timeout_seconds=20) as heir:
            assert heir.is_owner
            assert kept(heir.dsn) == 41
    finally:
        os.kill(child, signal.SIGKILL)
        ended(child)
