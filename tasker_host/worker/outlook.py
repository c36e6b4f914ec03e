"""When a worker looks into its queues: because somebody rang, or because it is time to."""

from __future__ import annotations

import math
import random
import time

LEAST_PAUSE_SECONDS = 0.002
"""Between two looks at something that is due but held by somebody else at the moment."""

YIELD_SECONDS = 0.1
"""How much later a worker looks for what comes due while there are steps that it has no handler for: others first."""


class Outlook:
    """`poll_interval_seconds` None: only bells and times that are known to come due."""

    def __init__(self, poll_interval_seconds: float | None) -> None:
        self.bell = True
        """Somebody said that there may be something."""
        self.look_at = 0.0
        """By the monotonic clock."""
        self._poll_interval_seconds = poll_interval_seconds

    @property
    def is_due(self) -> bool:
        return self.bell or time.monotonic() >= self.look_at

    def looks(self) -> None:
        """Now: what rang before has been heard."""
        self.bell = False

    def answered(self, next_due_seconds: float | None, *, looked: bool, yields: bool) -> None:
        """A call came back; `looked`: it saw the queues. `yields`: to workers that have the handlers."""
        look_at = time.monotonic() + self._pause(next_due_seconds, yields=yields)
        self.look_at = look_at if looked else min(look_at, self.look_at)

    def _pause(self, next_due_seconds: float | None, *, yields: bool) -> float:
        # Jitter keeps many workers from asking at the same instant; a known due time is kept exactly.
        pause = math.inf
        if self._poll_interval_seconds is not None:
            pause = self._poll_interval_seconds * random.uniform(0.75, 1.0)  # noqa: S311 - jitter, not a secret
        if next_due_seconds is None:
            return pause
        late = YIELD_SECONDS if yields else 0.0
        return min(pause, max(LEAST_PAUSE_SECONDS, next_due_seconds) + late)
