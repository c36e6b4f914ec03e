"""The one place where the examples look at a clock."""

from __future__ import annotations

from datetime import UTC, datetime


def now() -> datetime:
    """In UTC, to the second."""
    return datetime.now(UTC).replace(microsecond=0)
