"""The SQL that ships with the package, read once per process."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

_ROOT = files("tasker_host.db") / "sql"


@cache
def query(name: str) -> str:
    """The text of `sql/queries/<name>.sql`."""
    return (_ROOT / "queries" / f"{name}.sql").read_text("utf-8")


def folder(name: str) -> list[tuple[str, str]]:
    """(file name, text) of every file of `sql/<name>/`, in name order; line ends are normalised."""
    entries = sorted((entry for entry in (_ROOT / name).iterdir() if entry.name.endswith(".sql")), key=lambda e: e.name)
    return [(entry.name, entry.read_text("utf-8").replace("\r\n", "\n")) for entry in entries]
