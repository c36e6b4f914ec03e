"""Directories of the embedded server: where its data is by default, and where its socket goes."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tasker_host.errors import EmbeddedUnavailable

APP = "tasker-host"
# The port is only part of the socket's file name: nothing listens on TCP.
PORT = 5432
_TMP = Path("/tmp")  # noqa: S108 - what is made below it is checked to be ours
SOCKET_PATH_LIMIT = 107 if sys.platform == "linux" else 103


def default_data_dir() -> Path:
    """Where the data of this user goes unless they say otherwise; for root, where the server's account can reach it.

    Raises EmbeddedUnavailable for a user without a home.
    """
    chosen = Path(os.environ.get("XDG_DATA_HOME", ""))
    if chosen.is_absolute():  # the standard wants any other one ignored
        return chosen / APP
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / APP
    if os.geteuid() == 0:
        return system_dir()
    try:
        home = Path.home()
    except RuntimeError:
        raise EmbeddedUnavailable(
            f"the user of uid {os.geteuid()} has no home directory for the embedded database:"
            " set database.data_dir, or DATABASE_URL"
        ) from None
    return home / ("Library/Application Support" if sys.platform == "darwin" else ".local/share") / APP


def system_dir() -> Path:
    """The program's own directory among those of the system, reachable for every account."""
    return Path("/Library/Application Support" if sys.platform == "darwin" else "/var/lib") / APP


@contextmanager
def temporary_data_dir() -> Iterator[Path]:
    """A data directory of its own, removed at the end; reachable for the server's account also when root makes it."""
    path = Path(tempfile.mkdtemp(prefix="tasker-", dir=_temporary_root()))
    if sys.platform != "win32":
        path.chmod(own_mode())
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def _temporary_root() -> Path:
    """The system's place for temporary files; for root, /tmp where that one is private, as `pam_tmpdir` makes it."""
    usual = Path(tempfile.gettempdir()).resolve()
    private = any(not directory.stat().st_mode & 0o001 for directory in (usual, *usual.parents))
    return _TMP if private and sys.platform != "win32" and os.geteuid() == 0 else usual


def own_mode() -> int:
    """The mode of directories which we make: root's must let the server's account pass to what it owns inside."""
    return 0o711 if os.geteuid() == 0 else 0o700


def make_directory(path: Path) -> None:
    """Make `path` and what is missing above it, whatever the umask. What exists is left as it is. Raises OSError."""
    missing = [directory for directory in (path, *path.parents) if not directory.exists()]
    for directory in reversed(missing):
        try:
            directory.mkdir()
        except FileExistsError:
            continue  # another process, starting at the same time
        directory.chmod(own_mode())


def socket_dir(data_dir: Path) -> Path:
    """The directory of the socket: the same for every process that uses `data_dir`.

    It is `run` inside, unless the kernel's limit on socket paths, or a character that separates in connection strings
    and server options, forbids it: then a short one that is derived from the path.
    """
    inside = data_dir / "run"
    fits = len(os.fsencode(inside / f".s.PGSQL.{PORT}")) <= SOCKET_PATH_LIMIT
    if fits and str(inside).isprintable() and not set(str(inside)) & set(",\"'\\"):
        return inside
    # Not $TMPDIR: it differs between the processes that must meet here.
    return _TMP / f"tasker-{hashlib.sha256(os.fsencode(data_dir)).hexdigest()[:16]}"


def make_socket_dir(path: Path, uid: int, gid: int) -> None:
    """Make the socket's directory, open to `uid` only.

    Raises EmbeddedUnavailable when somebody else's is in its place.
    """
    try:
        path.mkdir(mode=0o700)
    except FileExistsError:
        found = path.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid not in {uid, os.geteuid()} or found.st_mode & 0o077:
            raise EmbeddedUnavailable(
                f"{path} should be the socket directory of the embedded PostgreSQL, open to its account (uid {uid})"
                f" only, but it belongs to uid {found.st_uid} with mode {stat.S_IMODE(found.st_mode):04o}:"
                " remove it, or set database.data_dir to another directory"
            ) from None
    if os.geteuid() != uid:
        os.chown(path, uid, gid, follow_symlinks=False)


def remove_socket_dir(path: Path, data_dir: Path) -> None:
    """Remove the socket's directory when it is outside, and the server left it empty. For the owner of the lock."""
    if path.parent != data_dir:
        with suppress(OSError):
            path.rmdir()
