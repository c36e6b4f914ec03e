"""Patterns of event names, by segments: `payment.*` is one more segment, `payment.**` any number of them."""

from __future__ import annotations

import re
from collections.abc import Sequence

from tasker_host.domain.event import HOST_PREFIX

_SEGMENT = re.compile(r"[a-z0-9_]+|\*|\*\*")


def check_pattern(pattern: str) -> str:
    """`pattern` itself. Raises ValueError that says what is wrong with it."""
    if not pattern:
        raise ValueError("must not be empty; '**' is every event")
    for segment in pattern.split("."):
        if segment == "#":
            raise ValueError(f"'{pattern}': write '**' for any number of segments")
        if not _SEGMENT.fullmatch(segment):
            found = f"the segment '{segment}'" if segment else "an empty segment"
            raise ValueError(
                f"'{pattern}' has {found}; segments are words of a-z, 0-9 and _, or '*' for any one, or '**' for any"
                " number of them, joined by dots"
            )
    return pattern


def matches(pattern: str, name: str) -> bool:
    """Whether an event of that name is one of the pattern's.

    `*` alone is every event, like `**`. The host's own happenings are matched only by patterns that begin with `host`.
    """
    if name.startswith(HOST_PREFIX) and not pattern.startswith(HOST_PREFIX):
        return False
    return pattern == "*" or _match(pattern.split("."), name.split("."))


def _match(pattern: Sequence[str], name: Sequence[str]) -> bool:
    if not pattern:
        return not name
    first, rest = pattern[0], pattern[1:]
    if first == "**":
        return any(_match(rest, name[skipped:]) for skipped in range(len(name) + 1))
    return bool(name) and first in ("*", name[0]) and _match(rest, name[1:])
