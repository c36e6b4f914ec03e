"""Numbers for reservations, payments and parcels.

They are made from the step that asks for them, which is the same on every attempt. So a step that is run again, after a
timeout or on another worker, reserves, charges and ships under the number it used before.
"""

from __future__ import annotations

from hashlib import sha256
from uuid import UUID


def code(step: UUID, purpose: str, length: int) -> str:
    """`length` hex digits in capitals (64 at most)."""
    return sha256(f"{purpose} {step}".encode()).hexdigest()[:length].upper()


def number(step: UUID, purpose: str, digits: int) -> str:
    """`digits` decimal digits (70 at most)."""
    return str(int(code(step, purpose, 64), 16) % 10**digits).zfill(digits)


def created_at(step: UUID) -> int:
    """Unix seconds at which the step was made: a uuid7 starts with them, in milliseconds."""
    return (step.int >> 80) // 1000
