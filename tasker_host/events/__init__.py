"""Domain events: what they say, the durable and the fast path, and what became of each.

`consume` is for services outside the host. It is loaded when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tasker_host.events.consumed import Consumed
    from tasker_host.events.reader import Consumer, consume

__all__ = ["Consumed", "Consumer", "consume"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    from tasker_host.events import reader

    return getattr(reader, name)
