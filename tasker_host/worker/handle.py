"""What one is given who starts a worker."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self

from tasker_host.domain.ids import WorkerId
from tasker_host.worker.loop import Worker


class WorkerHandle:
    """A worker of this process that was started beside the host's own (`Host.start_worker`).

    `async with` stops it at the end.
    """

    def __init__(self, make: Callable[[], Worker], ended: Callable[[WorkerId], Awaitable[None]]) -> None:
        self._make = make
        self._ended = ended
        self._stopping = False
        self._grace_seconds: float | None = None
        self.worker = make()
        self.has_run = False
        """Whether there was a worker to run before: it is to be run again."""

    @property
    def id(self) -> WorkerId:
        """Its name in `tasker worker list`."""
        return self.worker.id

    async def stop(self, *, grace_seconds: float | None = None) -> None:
        """Takes nothing more, and returns when it has ended: running steps get `grace_seconds`, else as configured.

        What still runs then is given back to others. May be called again, also with less.
        """
        self._stopping, self._grace_seconds = True, grace_seconds
        self.worker.stop(grace_seconds=grace_seconds)
        await self.join()

    async def join(self) -> None:
        """Returns when it has ended: it was stopped, or its host was."""
        await self._ended(self.id)

    def next(self) -> Worker:
        """The worker to run now: a new one in the place of one that failed."""
        if self.has_run:
            self.worker = self._make()
            if self._stopping:
                self.worker.stop(grace_seconds=self._grace_seconds)
        self.has_run = True
        return self.worker

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()
