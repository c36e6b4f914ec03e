"""Times that a run wrote down: they differ every time, and mean the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

THEN = "a time of the run"

_SLACK = timedelta(seconds=1)
"""Times are cut off to whole seconds, too."""

_SHORTEST = len("2026-11-21T09:00")


class Windows:
    """From when to when a run took place: by the real clock, and by that of its database."""

    def __init__(self, *spans: tuple[datetime, datetime]) -> None:
        self._spans = [(begin - _SLACK, end + _SLACK) for begin, end in spans]

    def without_times(self, value: Any) -> Any:
        """The value, with `THEN` in place of every time of the run: ISO 8601 text, or seconds or milliseconds."""
        if isinstance(value, Mapping):
            return {key: self.without_times(item) for key, item in value.items()}
        if isinstance(value, Sequence) and not isinstance(value, str):
            return [self.without_times(item) for item in value]
        time = _time(value)
        return THEN if time is not None and any(begin <= time <= end for begin, end in self._spans) else value


def _time(value: Any) -> datetime | None:
    try:
        if isinstance(value, str) and len(value) >= _SHORTEST and value[4:5] == "-":
            found = datetime.fromisoformat(value)
            return found.replace(tzinfo=UTC) if found.tzinfo is None else found
        if isinstance(value, int | float) and not isinstance(value, bool) and value > 1e9:
            return datetime.fromtimestamp(value if value < 1e11 else value / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        pass
    return None
