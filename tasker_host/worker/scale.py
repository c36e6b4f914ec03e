"""How many slots a worker should have, from how busy it is. Pure."""

from __future__ import annotations

import math

TARGET = 0.75
"""The share of the slots that is to be in use."""

CALM = 0.5
"""Below this share of the target it shrinks: far enough from it that it does not grow again at once."""

SATURATED = 0.9
"""From this share of the database's connections in use on, more slots would only wait for these."""


def next_slots(slots: int, running: float, *, minimum: int, maximum: int, saturation: float = 0.0) -> int:
    """The slots for the next while, when `running` steps ran on average in the last one.

    It grows at once, at most to twice as many, and shrinks by a tenth at a time. `saturation` is the share of the
    database's connections that is in use.
    """
    used = running / slots
    if used > TARGET:
        wanted = slots if saturation >= SATURATED else min(math.ceil(running / TARGET), slots * 2)
    elif used < TARGET * CALM:
        wanted = slots - math.ceil(slots / 10)
    else:
        wanted = slots
    return max(minimum, min(maximum, wanted))
