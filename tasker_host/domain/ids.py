"""Identifiers: uuid7 keys, made by the caller, so that rows sort by the time they were made (RFC 9562)."""

from __future__ import annotations

import os
import random
import time
from typing import NewType
from uuid import UUID

WorkerId = NewType("WorkerId", str)

_VERSION_AND_VARIANT = (0x7 << 76) | (0x2 << 62)


def uuid7() -> UUID:
    """A new uuid7: 48 bits of Unix milliseconds, 12 bits of sub-millisecond fraction, 62 random bits."""
    nanoseconds = time.time_ns()
    milliseconds, rest = divmod(nanoseconds, 1_000_000)
    fraction = (rest << 12) // 1_000_000
    random = int.from_bytes(os.urandom(8), "big") & 0x3FFF_FFFF_FFFF_FFFF
    return UUID(int=(milliseconds << 80) | (fraction << 64) | random | _VERSION_AND_VARIANT)


def uuid7_text(nanoseconds: int) -> str:
    """The text of a new uuid7 of that Unix time, for where many are made: in a fifth of the time of `str(uuid7())`."""
    milliseconds, rest = divmod(nanoseconds, 1_000_000)
    start = f"{milliseconds:012x}"
    end = f"{_random_bits(62) | 0x8000_0000_0000_0000:016x}"
    return f"{start[:8]}-{start[8:]}-7{rest * 512 // 125_000:03x}-{end[:4]}-{end[4:]}"


_random_bits = random.getrandbits
"""Mersenne Twister, seeded anew in a fork: an id is no secret."""
