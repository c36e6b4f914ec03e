"""Identifiers: uuid7 keys, made by the caller, so that rows sort by the time they were made (RFC 9562)."""

from __future__ import annotations

import os
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
