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

_QUEUE = re.compile(r"[a-z_][a-z0-9_]{0,46}")
_RELAY = re.compile(r"[a-z][a-z0-9_]{0,35}")
_KEY = re.compile(r"(payload|metadata)(\.[A-Za-z0-9_-]+)+|event_(id|name|version)")
_OWN_ENDS = {
    "_queue": "the steps of a namespace",
    "_relay": "a relay",
    "_relay_dead": "a relay's dead events",
    "orchestration_task_requests": "requests for tasks",
}


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


def queue_problem(queue: str) -> str | None:
    """Why events cannot be bound to a queue of that name; None when they can."""
    if not _QUEUE.fullmatch(queue):
        return f"{queue!r} is no name of a queue: from 1 to 47 characters of a-z, 0-9 and _, not beginning with a digit"
    for end, whose in _OWN_ENDS.items():
        if queue.endswith(end):
            return f"{queue!r} is a queue of {whose}: choose a name that does not end with {end}"
    return None


def relay_problem(name: object) -> str | None:
    """Why a relay cannot have that name, which is a part of its queue's; None when it can."""
    if isinstance(name, str) and _RELAY.fullmatch(name):
        return None
    return f"{name!r} is no name of a relay: from 1 to 36 characters of a-z, 0-9 and _, beginning with a letter"


def key_problem(path: object) -> str | None:
    """Why that does not say where in an event a key is; None when it does."""
    if isinstance(path, str) and _KEY.fullmatch(path):
        return None
    return f"{path!r} is no place in an event: write payload.order_id, metadata.task_uuid or event_name"


def pattern_regex(pattern: str) -> str:
    """The names of a pattern as an expression that Python and PostgreSQL read alike, matched against `.` and name."""
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
