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
from collections.abc import Callable, Iterable, Sequence
from functools import cache

from tasker_host.domain.event import HOST_PREFIX

_SEGMENT = re.compile(r"[a-z0-9_]+")
_ANY = ("**", "#")
MOST_CHARACTERS = 255
MOST_EXPRESSED = 2
"""Times `**` in a pattern that is matched as an expression: Python's take for ever with many of them."""


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
def _matcher(pattern: str) -> Callable[[str], bool]:
    """Whether a name is one of the pattern's."""
    parts = pattern.split(".")
    if sum(part in _ANY for part in parts) <= MOST_EXPRESSED:
        found = re.compile(pattern_regex(pattern)).search
        return lambda name: found(f".{name}") is not None
    return lambda name: _walked(parts, name.split("."))


def _walked(parts: Sequence[str], segments: Iterable[str]) -> bool:
    """The same by steps, whose number is at most that of the parts times that of the segments."""
    at = _beyond(parts, {0})
    for segment in segments:
        some = (part for part in at if part < len(parts))
        at = _beyond(
            parts,
            {
                part if parts[part] in _ANY else part + 1
                for part in some
                if parts[part] in _ANY or parts[part] in ("*", segment)
            },
        )
    return len(parts) in at


def _beyond(parts: Sequence[str], at: set[int]) -> set[int]:
    """And where one is without a further segment."""
    for number, part in enumerate(parts):
        if number in at and part in _ANY:
            at.add(number + 1)
    return at


def matches(pattern: str, name: str) -> bool:
    """Whether an event of that name is one of the pattern's.

    The host's own happenings are matched only by patterns that begin with `host`.
    """
    if name.startswith(HOST_PREFIX) and not pattern.startswith(HOST_PREFIX):
        return False
    return _matcher(pattern)(name)
