"""How much more a worker takes: its slots, what of them is in use or promised, and from when on it sheds load."""

from __future__ import annotations

from collections.abc import Callable

import structlog

from tasker_host.worker.options import WorkerOptions
from tasker_host.worker.scale import next_slots

log = structlog.get_logger("tasker.worker")


class Capacity:
    """Of one worker, which runs `running()` steps at the moment. `slots` follow what runs where the options say so."""

    def __init__(self, options: WorkerOptions, running: Callable[[], int], *, worker: str) -> None:
        self.slots = options.slots
        self.promised = 0
        """Steps that are on their way to it."""
        self._options = options
        self._running = running
        self._worker = worker
        self._ran: list[int] = []
        self._warned = False

    @property
    def is_shedding(self) -> bool:
        """Whether too many of the slots are in use to take anything more from the queues."""
        return self._running() * 100 >= self.slots * self._options.shed_percent

    @property
    def may_shed(self) -> bool:
        return self._options.shed_percent < 100

    @property
    def room(self) -> int:
        """How many steps one call may take."""
        # Two calls' worth of steps alternate: one half runs while the other is being recorded.
        most = max(1, min(self._options.max_claim, (self.slots + 1) // 2))
        return max(0, min(most, self.slots - self._running() - self.promised))

    def promise(self, steps: int) -> None:
        self.promised += steps

    def keep(self, steps: int) -> None:
        """Ends a promise."""
        # What was promised by a worker before this one is kept here too.
        self.promised = max(0, self.promised - steps)

    def beat(self, saturation: float) -> bool:
        """Once in a while: more or fewer slots, by what has run; whether they changed.

        `saturation` is the share of the database's connections in use.
        """
        options, now = self._options, self._running()
        self._ran.append(now)
        used = 100 * now // self.slots
        if used >= options.shed_warn_percent and not self._warned:
            log.warning("slots nearly all in use", running=now, slots=self.slots, worker=self._worker)
        self._warned = used >= options.shed_warn_percent
        if not (options.min_slots and options.max_slots):
            return False
        ran, self._ran = max(self._ran), []
        before = self.slots
        self.slots = next_slots(
            before, ran, minimum=options.min_slots, maximum=options.max_slots, saturation=saturation
        )
        if self.slots != before:
            log.info("slots changed", before=before, slots=self.slots, running=ran, worker=self._worker)
        return self.slots != before
