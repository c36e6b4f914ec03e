"""The harness measures what it says; how fast it was is nobody's business here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

RUN = Path(__file__).parent / "run.py"


def measured(server_dsn: str, workload: str, *options: str) -> dict[str, Any]:
    command = [sys.executable, str(RUN), workload, "--json", "--rounds", "1", "--url", server_dsn, *options]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert answer.returncode == 0, answer.stderr
    found: dict[str, Any] = json.loads(answer.stdout)
    return found


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
