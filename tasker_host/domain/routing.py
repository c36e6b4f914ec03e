"""Names of queues and relays that durable events are routed to, and of the keys by which they are ordered."""

from __future__ import annotations

import re

_QUEUE = re.compile(r"[a-z_][a-z0-9_]{0,46}")
_RELAY = re.compile(r"[a-z][a-z0-9_]{0,35}")
_KEY = re.compile(r"(payload|metadata)(\.[A-Za-z0-9_-]+)+|event_(id|name|version)")
_DEAD = "_relay_dead"
_OWN_ENDS = {
    "_queue": "the steps of a namespace",
    "_relay": "a relay",
    _DEAD: "a relay's dead events",
    "orchestration_task_requests": "requests for tasks",
}


def queue_problem(queue: str) -> str | None:
    """Why events cannot be bound to a queue of that name; None when they can."""
    if not _QUEUE.fullmatch(queue):
        return f"{queue!r} is no name of a queue: from 1 to 47 characters of a-z, 0-9 and _, not beginning with a digit"
    for end, whose in _OWN_ENDS.items():
        if queue.endswith(end):
            return f"{queue!r} is a queue of {whose}: choose a name that does not end with {end}"
    return None


def own_queue(queue: str) -> str | None:
    """Of what the messages of that queue are that the host itself deals with; None when others may."""
    ends = (end for end in _OWN_ENDS if queue.endswith(end) and end != _DEAD)
    return next((_OWN_ENDS[end] for end in ends), None)


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
