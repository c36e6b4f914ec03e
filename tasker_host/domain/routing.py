"""Patterns by which durable events are routed to queues and relays, and the expressions that PostgreSQL matches.

They are those of `domain.patterns`, and `#` besides, as AMQP and PGMQ write it: any number of segments.
"""

from __future__ import annotations

import re

from tasker_host.domain.patterns import check_pattern

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
    """Why durable events cannot be chosen by that; None when they can. Here `#` is another way to write `**`."""
    if not isinstance(pattern, str):
        return f"a pattern must be text (got {pattern!r:.80})"
    if len(pattern) > MOST_CHARACTERS:
        return f"a pattern must have at most {MOST_CHARACTERS} characters (got {len(pattern)})"
    try:
        check_pattern(".".join("**" if segment == "#" else segment for segment in pattern.split(".")))
    except ValueError as error:
        return f"a pattern {error}" if not pattern else str(error)
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
    """The names of a pattern as an expression of PostgreSQL (and Python), matched against `.` and the name."""
    if pattern == "*":
        return "^.*$"
    parts = (
        r"(\.[^.]+)*" if segment in _ANY else r"\.[^.]+" if segment == "*" else rf"\.{segment}"
        for segment in pattern.split(".")
    )
    return f"^{''.join(parts)}$"
