"""Windows: no embedded server. asyncio cannot use its unix sockets there, and nothing stops it with its owner."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import NoReturn, Self

from tasker_host.errors import EmbeddedUnavailable


class EmbeddedServer:
    """Has the shape of the real one; every start is refused."""

    is_owner = False
    pid: int | None = None
    dsn = ""
    version = (0, 0)

    def __init__(
        self, data_dir: Path, *, binaries: Path | None = None, options: Mapping[str, str] | None = None
    ) -> None:
        del binaries, options
        self.data_dir = data_dir
        self.log_path = data_dir / "postgres.log"

    def start(self) -> NoReturn:
        raise EmbeddedUnavailable(
            "the embedded PostgreSQL does not run on Windows: set DATABASE_URL to a PostgreSQL server (version 15"
            " or newer)"
        )

    def check(self) -> bool:
        return False

    def stop(self) -> None:
        pass

    def __enter__(self) -> Self:
        self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
