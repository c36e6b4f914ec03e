"""Steps that a worker is given and has no handler for: each is kept from everybody for a while.

For a second at least, so that it holds up none of those that are served. Where many of them wait, they come back one
after the other, so few at a time that most of what a worker takes is what it serves: else thousands that nobody serves
would come due faster than a worker can put them away, and nothing behind them would ever be seen.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta

import structlog

from tasker_host.db.kernel import Claimed
from tasker_host.domain.ids import WorkerId

log = structlog.get_logger("tasker.worker")

LEAST_SECONDS = 1.0
MOST_SECONDS = 60.0

MOST_PER_SECOND = 1000
MOST_ROUNDS_PER_SECOND = 50
"""So many of them come back in a second, at most, and so many for each slot: a worker takes several times as many.

They come back to those that do serve them, too, which should not have to wait long.
"""


class Unserved:
    """Of one worker with so many slots."""

    def __init__(self, worker: WorkerId, slots: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._worker = worker
        self._apart = 1 / min(MOST_PER_SECOND, MOST_ROUNDS_PER_SECOND * slots)
        self._clock = clock
        self._told: set[tuple[int, str]] = set()
        self._last_back_at = 0.0

    def __bool__(self) -> bool:
        return bool(self._told)

    @property
    def steps(self) -> list[tuple[int, str]]:
        """(template, step) of each kind that was met."""
        return sorted(self._told)

    def leave(self, step: Claimed) -> timedelta:
        """How long this step is kept from everybody. Told in the log once for each kind."""
        key = (step.template_id, step.template_step)
        if key not in self._told:
            self._told.add(key)
            log.warning(
                "step has no handler here, left to other workers",
                step=step.name,
                namespace=step.namespace,
                template_id=step.template_id,
                worker=self._worker,
            )
        now = self._clock()
        self._last_back_at = min(max(now + LEAST_SECONDS, self._last_back_at + self._apart), now + MOST_SECONDS)
        return timedelta(seconds=self._last_back_at - now)
