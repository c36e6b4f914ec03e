"""The server's log: opened for it, kept small, quoted in errors."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from tasker_host.db.embedded.lock import open_own

LIMIT_BYTES = 10_000_000


class ServerLog:
    """A file that the server appends to; beyond the limit its content moves to `….1`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._start = 0

    def open(self) -> int:
        """A descriptor for the next server; `tail` tells what is written from here on."""
        descriptor = open_own(self.path, os.O_WRONLY | os.O_APPEND)
        self._start = os.fstat(descriptor).st_size
        return descriptor

    def tail(self, lines: int = 12) -> str:
        """The last lines since `open`, indented for an error message."""
        try:
            with self.path.open("rb") as file:
                file.seek(self._start)
                told = file.read().decode(errors="replace").splitlines()
        except OSError:
            return ""
        return indented(told[-lines:])

    def says(self, words: str) -> bool:
        return words in self.tail(lines=100)

    def bound(self, limit_bytes: int = LIMIT_BYTES) -> None:
        """Move the content to `….1` when it is over the limit. What is written in this very moment may be lost."""
        try:
            if self.path.stat().st_size <= limit_bytes:
                return
        except FileNotFoundError:
            return
        with (
            os.fdopen(open_own(self.path, os.O_RDWR), "rb") as full,
            os.fdopen(open_own(self.path.with_name(self.path.name + ".1"), os.O_WRONLY | os.O_TRUNC), "wb") as before,
        ):
            shutil.copyfileobj(full, before)
            # The server's descriptor appends: it goes on at the new end.
            os.ftruncate(full.fileno(), 0)
        self._start = 0


def indented(lines: list[str]) -> str:
    return "".join(f"\n  {line}" for line in lines)
