"""Patterns by which durable events are routed to queues and relays, and the expressions that PostgreSQL matches.

A name is segments with dots between them. In a pattern `*` stands for one segment, `**` or `#` for any number of them,
none included; `*` alone is every name.

    payment.processed     that name
    payment.*             payment.processed, not payment.card.processed
    payment.**            both
    #                     everything
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

_SEGMENT = re.compile(r"[a-z0-9_]+")
_ANY = ("**", "#")
MOST_CHARACTERS = 255


def pattern_problem(pattern: object) -> str | None:
    """Why that is no pattern; None when it is one."""
    if not isinstance(pattern, str):
        return f"must be text (got {pattern!r:.80})"
    if not 1 <= len(pattern) <= MOST_CHARACTERS:
        return f"must have from 1 to {MOST_CHARACTERS} characters (got {len(pattern)})"
    for segment in pattern.split("."):
        if segment != "*" and segment not in _ANY and not _SEGMENT.fullmatch(segment):
            return (
                f"{pattern!r} is no pattern of event names: {segment!r} is neither a segment (a-z, 0-9, _) nor"
                " * (one segment) nor ** (any number)"
            )
    return None


def pattern_regex(pattern: str) -> str:
    """The names of a pattern, as a regular expression that Python and PostgreSQL read alike; matched against `.name`."""
    if pattern == "*":
        return "^.*$"
    parts = (
        r"(\.[^.]+)*" if segment in _ANY else r"\.[^.]+" if segment == "*" else rf"\.{segment}"
        for segment in pattern.split(".")
    )
    return f"^{''.join(parts)}$"


def matcher(patterns: Iterable[str]) -> Callable[[str], bool]:
    """Whether a name matches one of the patterns."""
    found = [re.compile(pattern_regex(pattern)) for pattern in patterns]

    def matches(name: str) -> bool:
        dotted = f".{name}"
        return any(one.search(dotted) for one in found)

    return matches
