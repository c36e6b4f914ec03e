"""Patterns of event names, the same wherever events are chosen: by subscribers, relays, bindings and filters.

A name is segments with dots between them. In a pattern `*` stands for one segment, `**` or `#` for any number of them,
none included; `*` alone is every name.

    payment.processed     that name
    payment.*             payment.processed, not payment.card.processed
    payment.**            both
    #                     everything
"""

from __future__ import annotations

import re
from functools import cache

from tasker_host.domain.event import HOST_PREFIX

_SEGMENT = re.compile(r"[a-z0-9_]+")
_ANY = ("**", "#")
MOST_CHARACTERS = 255


def pattern_problem(pattern: object) -> str | None:
    """Why that is no pattern; None when it is one."""
    if not isinstance(pattern, str):
        return f"must be text (got {pattern!r:.80})"
    if not 1 <= len(pattern) <= MOST_CHARACTERS:
        return f"must have from 1 to {MOST_CHARACTERS} characters (got {len(pattern)}); '**' is every event"
    for segment in pattern.split("."):
        if segment != "*" and segment not in _ANY and not _SEGMENT.fullmatch(segment):
            return (
                f"{pattern!r} is no pattern of event names: {segment!r} is neither a segment (a-z, 0-9, _) nor"
                " * (one segment) nor ** (any number)"
            )
    if _SEGMENT.fullmatch(pattern):
        return (
            f"{pattern!r} is the name of no event, they have at least two segments: write '{pattern}.*' for one more,"
            f" '{pattern}.**' for any number"
        )
    return None


def check_pattern(pattern: str) -> str:
    """`pattern` itself. Raises ValueError that says what is wrong with it."""
    if problem := pattern_problem(pattern):
        raise ValueError(problem)
    return pattern


def pattern_regex(pattern: str) -> str:
    """The names of a pattern as an expression that Python and PostgreSQL read alike, matched against `.` and name."""
    if pattern == "*":
        return "^.*$"
    parts = (
        r"(\.[^.]+)*" if segment in _ANY else r"\.[^.]+" if segment == "*" else rf"\.{segment}"
        for segment in pattern.split(".")
    )
    return f"^{''.join(parts)}$"


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern_regex(pattern))


def matches(pattern: str, name: str) -> bool:
    """Whether an event of that name is one of the pattern's.

    The host's own happenings are matched only by patterns that begin with `host`.
    """
    if name.startswith(HOST_PREFIX) and not pattern.startswith(HOST_PREFIX):
        return False
    return _compiled(pattern).search(f".{name}") is not None
