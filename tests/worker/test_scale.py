"""How many slots a worker should have."""

from __future__ import annotations

import pytest

from tasker_host.worker.scale import next_slots


@pytest.mark.parametrize(
    ("slots", "running", "saturation", "expected"),
    [
        (100, 75, 0.0, 100),  # at the target
        (100, 90, 0.0, 120),  # 90 are three quarters of 120
        (100, 100, 0.0, 134),
        (10, 10, 0.0, 14),
        (100, 100, 0.95, 100),  # more would only wait for the database
        (100, 50, 0.0, 100),  # neither busy nor calm
        (100, 30, 0.0, 90),
        (100, 0, 0.0, 90),
        (11, 0, 0.0, 10),  # not below the least
        (190, 190, 0.0, 200),  # not above the most
    ],
)
def test_slots_follow_what_runs(slots, running, saturation, expected):
    assert next_slots(slots, running, minimum=10, maximum=200, saturation=saturation) == expected


def test_a_steady_load_comes_to_rest():
    slots, seen = 10, []
    for _ in range(30):
        slots = next_slots(slots, min(60, slots), minimum=10, maximum=200)
        seen.append(slots)
    assert seen[-10:] == [80] * 10
