"""How many processes there are to be."""

from __future__ import annotations

from collections import deque

import pytest

from tasker_host.cli.scaling import Processes, next_processes

TWO_TO_EIGHT = Processes(2, 8)


@pytest.mark.parametrize(
    ("count", "seen", "expected"),
    [
        (2, [0.0], 2),  # never fewer than the least
        (2, [1.5], 2),  # at the target
        (2, [1.6], 3),  # 1.6 are three quarters of 2.1
        (2, [2.0], 3),
        (2, [0.0, 0.0, 2.0], 3),  # at once
        (4, [4.0], 6),
        (6, [6.0], 8),
        (8, [8.0], 8),  # never more than the most
        (4, [1.0], 4),  # calm, but seen once only
        (4, [1.0, 1.0], 4),
        (4, [1.0, 1.0, 1.0], 3),
        (4, [2.0, 1.0, 1.0], 4),  # not calm all the time
        (9, [0.0], 8),  # more than may be: as when a host with other numbers was there
    ],
)
def test_processes_follow_the_slots_in_use(count, seen, expected):
    assert next_processes(count, deque(seen), TWO_TO_EIGHT) == expected


def test_a_steady_load_comes_to_rest():
    count, seen, after = 2, deque(maxlen=3), []
    for _ in range(12):
        seen.append(min(3.0, count))
        count = next_processes(count, seen, TWO_TO_EIGHT)
        after.append(count)
    assert after[-8:] == [4] * 8
