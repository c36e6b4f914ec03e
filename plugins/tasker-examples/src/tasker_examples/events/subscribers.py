"""Who hears the fast events in the same process: here a log, elsewhere a cache, a counter or a screen."""

from __future__ import annotations

import logging

from tasker_host import DomainEvent, Subscriber

_log = logging.getLogger("tasker_examples.events")


def write_to_log(event: DomainEvent) -> None:
    _log.info("%s: %s", event.event_name, event.payload)


SUBSCRIBERS = (Subscriber("examples.log", ("order.*", "inventory.*", "notification.*"), write_to_log),)
