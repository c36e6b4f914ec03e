"""Domain events: what they say, the durable and the fast path, and what became of each.

`consume` is for services outside the host. It is loaded when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasker_host.lazy import lazy_names

if TYPE_CHECKING:
    from tasker_host.events.consumed import Consumed
    from tasker_host.events.reader import Consumer, consume

__all__ = ["Consumed", "Consumer", "consume"]

__getattr__, __dir__ = lazy_names(__name__, {"consumed": ("Consumed",), "reader": ("Consumer", "consume")})
