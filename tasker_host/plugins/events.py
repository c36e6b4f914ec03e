"""What may be wrong with a publisher or a subscriber."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tasker_host.domain.patterns import check_pattern
from tasker_host.domain.template.parts import PUBLISHER_NAME
from tasker_host.hooks.publisher import DEFAULT, BoundPublisher, EventPublisher
from tasker_host.hooks.records import Publisher, Subscriber

MOST_QUEUED = 10_000_000


def bound_publisher(item: Any, plugin: str) -> BoundPublisher | None:
    """From a record, or a class or an instance of `EventPublisher`; None for what is neither."""
    given = item() if isinstance(item, type) and issubclass(item, EventPublisher) else item
    if isinstance(given, EventPublisher):
        return BoundPublisher(given.name or type(given).__name__, plugin, hooks=given)
    if isinstance(given, Publisher):
        return BoundPublisher(given.name, plugin, build=given.build)
    return None


def publisher_problems(publisher: BoundPublisher) -> Iterator[str]:
    name: Any = publisher.name
    if publisher.hooks is None and not callable(publisher.build):
        yield f"publisher {publisher.name!r}: build must be a function (got {publisher.build!r:.80})"
    if publisher.name == DEFAULT:
        yield f"'{DEFAULT}' is the host's own publisher; choose another name"
    elif isinstance(name, str) and name and not PUBLISHER_NAME.fullmatch(name):
        yield f"publisher {publisher.name!r}: no template can name it; write identifiers joined by dots"


def subscriber_problems(subscriber: Subscriber) -> Iterator[str]:
    where = f"subscriber {subscriber.name!r}"
    # A plugin may have written anything.
    receive: Any = subscriber.receive
    size: Any = subscriber.queue_size
    patterns: Any = subscriber.events
    if not callable(receive):
        yield f"{where}: receive must be a function (got {receive!r:.80})"
    if isinstance(size, bool) or not isinstance(size, int) or not 1 <= size <= MOST_QUEUED:
        yield f"{where}: queue_size must be a whole number from 1 to {MOST_QUEUED} (got {size!r})"
    own_only: Any = subscriber.own_only
    if not isinstance(own_only, bool):
        yield f"{where}: own_only must be True or False (got {own_only!r:.80})"
    if not isinstance(patterns, list | tuple | set | frozenset):
        yield f"{where}: events must be a list of patterns (got {patterns!r:.80})"
        return
    if not patterns:
        yield f"{where}: events has no pattern, so it would never hear anything"
    for pattern in patterns:
        if not isinstance(pattern, str):
            yield f"{where}: a pattern must be text (got {pattern!r:.80})"
            continue
        try:
            check_pattern(pattern)
        except ValueError as error:
            yield f"{where}: pattern {error}"
