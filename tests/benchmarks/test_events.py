"""The benchmark of events measures what it says; how fast it was is nobody's business here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

RUN = Path(__file__).parent / "events.py"


def test_every_event_is_counted(server_dsn):
    sizes = ("--rounds", "1", "--tasks", "5", "--events", "2000")
    command = [sys.executable, str(RUN), "--json", "--url", server_dsn, *sizes]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert answer.returncode == 0, answer.stderr
    found = json.loads(answer.stdout)
    assert min(found["fast_events_per_second"].values()) > 0
    durable = found["durable"]
    assert set(durable["wall_us"]) == {"plain", "durable", "checked"}
    assert set(durable["added_wall_percent"]) == {"durable", "checked"}
    # Two of three variants publish, four steps each: five tasks, and 4 × 250 to warm up.
    assert durable["events"] == 2 * 4 * (5 + 1000)
