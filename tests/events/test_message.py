"""The texts of messages: their ids, and the moment that they tell."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from itertools import chain, repeat
from uuid import UUID

import pytest

from tasker_host.events.message import Clock

STEP = "01a1ffd6-6fb0-797a-a075-53a659000001"
NOW = 1_795_000_000_123_456_789


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Near the end of its numbers, in a time that stands still for a while."""
    monkeypatch.setattr(random, "getrandbits", lambda _: 4090)
    times: Iterator[int] = chain(repeat(NOW, 3), repeat(NOW + 1_000))
    monkeypatch.setattr(time, "time_ns", lambda: next(times))
    return Clock()


def test_events_of_one_look_at_the_clock_have_ids_of_their_own_in_the_order_in_which_they_are_made(clock: Clock):
    clock.look()
    ids = [clock.event_id(STEP) for _ in range(20)]
    assert ids == sorted(set(ids))
    assert {UUID(each).version for each in ids} == {7}
    assert {UUID(each).variant for each in ids} == {UUID(STEP).variant}


def test_an_id_and_the_moment_beside_it_are_of_the_same_millisecond(clock: Clock):
    clock.look()
    assert UUID(clock.event_id(STEP)).int >> 80 == NOW // 1_000_000
    assert clock.text == "2026-11-18T11:06:40.123Z"
