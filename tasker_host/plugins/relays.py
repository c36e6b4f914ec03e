"""What may be wrong with a relay."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tasker_host.domain.patterns import pattern_problem
from tasker_host.domain.routing import key_problem, relay_problem
from tasker_host.hooks.relay import Relay

_BOUNDS = {
    "concurrency": (int, 1, 1_000),
    "timeout_seconds": (float, 0.001, 86_400),
    "max_attempts": (int, 1, 1_000),
    "retry_base_seconds": (float, 0, 86_400),
    "retry_max_seconds": (float, 0, 604_800),
}


def relay_problems(relay: Relay) -> Iterator[str]:
    where = f"relay {relay.name!r}"
    # A plugin may have written anything.
    deliver: Any = relay.deliver
    if problem := relay_problem(relay.name):
        yield problem
    if not callable(deliver):
        yield f"{where}: deliver must be a function (got {deliver!r:.80})"
    if relay.ordered_by is not None and (problem := key_problem(relay.ordered_by)):
        yield f"{where}: ordered_by: {problem}"
    yield from _texts(where, "events", relay.events)
    yield from _texts(where, "namespaces", relay.namespaces)
    if isinstance(relay.events, list | tuple | set | frozenset):
        if not relay.events:
            yield f"{where}: events has no pattern, so it would never be given anything"
        for pattern in relay.events:
            if problem := pattern_problem(pattern):
                yield f"{where}: events: {problem}"
    for name, (kind, least, most) in _BOUNDS.items():
        value = getattr(relay, name)
        if value is None:
            continue
        fits = isinstance(value, int | float if kind is float else int) and not isinstance(value, bool)
        if not fits or not least <= value <= most:
            what = "a whole number" if kind is int else "a number"
            yield f"{where}: {name} must be {what} from {least:g} to {most:g}, or None (got {value!r:.80})"


def _texts(where: str, name: str, value: Any) -> Iterator[str]:
    if not isinstance(value, list | tuple | set | frozenset):
        yield f"{where}: {name} must be a list of texts (got {value!r:.80})"
    elif wrong := [item for item in value if not isinstance(item, str)]:
        yield f"{where}: {name} must be texts (got {wrong[0]!r:.80})"
