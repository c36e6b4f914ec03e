"""The harness measures what it says; how fast it was is nobody's business here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent


def measured(server_dsn: str, workload: str, *options: str) -> dict[str, Any]:
    return json.loads(said(server_dsn, "run.py", workload, "--json", "--rounds", "1", *options))  # type: ignore[no-any-return]


def said(server_dsn: str, program: str, *options: str) -> str:
    command = [sys.executable, str(HERE / program), *options, "--url", server_dsn]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert answer.returncode == 0, answer.stderr
    return answer.stdout


@pytest.mark.parametrize("workload", ["diamond", "latency1"])
def test_every_variant_completes_every_task(server_dsn: str, workload: str) -> None:
    found = measured(server_dsn, workload, "--tasks", "5")
    assert {"workload", "product", "bare", "floor", "unit", "conditions"} <= set(found)
    assert found["workload"] == workload
    assert found["completed"] == {"product": [5], "bare": [5], "floor": [5]}
    assert min(found["product"], found["bare"], found["floor"]) > 0


def test_an_idle_host_says_what_it_asks_and_what_it_takes(server_dsn: str) -> None:
    found = measured(server_dsn, "idle", "--seconds", "1")
    assert (found["unit"], found["bare"], found["floor"]) == ("queries/s", None, None)
    assert isinstance(found["product"], float)
    assert found["rss_mib"] is None or found["rss_mib"] > 10  # a Python process that imported asyncpg


@pytest.mark.parametrize("pair", ["limits", "crowd"])
def test_a_condition_is_made_and_both_complete_everything(server_dsn: str, pair: str) -> None:
    found = json.loads(said(server_dsn, "pairs.py", pair, "--rounds", "2", "--tasks", "5", "--size", "20"))
    assert [len(rounds) for rounds in found["rounds"].values()] == [2, 2]
    assert min(found["plain"], found[pair], found["ratio"]) > 0


def test_wake_ups_are_measured_with_and_without_a_doorbell(server_dsn: str) -> None:
    own, apart = map(json.loads, said(server_dsn, "wakeup.py", "--cycles", "10").splitlines())
    assert (own["apart"], apart["apart"], own["cycles"], apart["cycles"]) == (False, True, 10, 10)
    for found in (own, apart):
        assert 0 < found["p50"] <= found["p99"] <= found["p99.9"] <= found["worst"]
