"""The lock that decides who owns the server of a data directory."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path


class OwnerLock:
    """An exclusive lock on a file. The kernel releases it when the process ends, however it ends."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor: int | None = None

    @property
    def held(self) -> bool:
        return self._descriptor is not None

    def acquire(self) -> bool:
        """Take the lock if nobody has it; whether it is ours now. Raises OSError."""
        if self._descriptor is not None:
            return True
        descriptor = open_own(self.path, os.O_RDWR)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            if isinstance(error, BlockingIOError):
                return False
            raise
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        self._descriptor = descriptor
        return True

    def holder(self) -> str:
        """The pid which the last owner wrote down, for messages; empty when there is none."""
        try:
            return self.path.read_text().strip()
        except OSError:
            return ""

    def release(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def open_own(path: Path, flags: int) -> int:
    """Open or create a private file of the data directory.

    Root gives it to the directory's owner, and follows no link.
    """
    descriptor = os.open(path, flags | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    if os.geteuid() == 0:
        directory = path.parent.stat()
        os.fchown(descriptor, directory.st_uid, directory.st_gid)
    return descriptor
