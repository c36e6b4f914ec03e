"""PostgreSQL's own directory below the data directory: which one, and its first initialisation."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

from tasker_host.db.embedded.account import Account, has_entry
from tasker_host.db.embedded.binaries import Binaries, find_binaries
from tasker_host.db.embedded.log import indented
from tasker_host.db.embedded.spawn import spawn
from tasker_host.errors import EmbeddedUnavailable


def choose(data_dir: Path, configured: Path | None) -> tuple[Binaries, Path]:
    """The programs to run and the directory to run them in. Raises EmbeddedUnavailable when they do not fit.

    Data of another major version than the first programs found is served by programs of its own version, if there are
    any: installing a newer PostgreSQL must not make yesterday's tasks disappear.
    """
    if (data_dir / "PG_VERSION").exists():
        raise EmbeddedUnavailable(
            f"{data_dir} is itself a data directory of PostgreSQL, the embedded server keeps its own below it:"
            " set database.data_dir to another directory, or DATABASE_URL to the server that runs there"
        )
    present = sorted(int(path.name[2:]) for path in data_dir.glob("pg*") if re.fullmatch(r"pg\d+", path.name))
    binaries = find_binaries(configured)
    if present and binaries.major not in present:
        if configured is not None:
            raise _other_version(data_dir, present[-1], binaries)
        try:
            binaries = find_binaries(major=present[-1])
        except EmbeddedUnavailable:
            raise _other_version(data_dir, present[-1], binaries) from None
    pgdata = data_dir / f"pg{binaries.major}"
    if pgdata.exists():
        _check_version(pgdata, binaries)
    return binaries, pgdata


def _other_version(data_dir: Path, found: int, binaries: Binaries) -> EmbeddedUnavailable:
    return EmbeddedUnavailable(
        f"{data_dir} holds data of PostgreSQL {found}, and the programs found are {binaries}:"
        f" set database.embedded_binaries to the programs of a PostgreSQL {found};"
        f" or move the data over (pg_dumpall with those, then psql into the new server);"
        f" or, to begin anew, move {data_dir / f'pg{found}'} away"
    )


def _check_version(pgdata: Path, binaries: Binaries) -> None:
    try:
        found = (pgdata / "PG_VERSION").read_text().strip()
    except FileNotFoundError:
        found = ""
    if found != str(binaries.major):
        what = f"the data of PostgreSQL {found}" if found else "no PostgreSQL data (there is no PG_VERSION)"
        raise EmbeddedUnavailable(
            f"{pgdata} should hold the data of PostgreSQL {binaries.major}, but holds {what}: move it away, or put"
            " it back in order"
        )


def initialise(binaries: Binaries, pgdata: Path, account: Account, *, sync: bool) -> None:
    """Make `pgdata` with an empty cluster, all or nothing: it is built beside and renamed.

    Only for the owner of the lock. Raises EmbeddedUnavailable with the last lines of `initdb`, OSError.
    """
    if not has_entry(account.uid):
        raise EmbeddedUnavailable(
            f"this process runs as uid {account.uid}, which has no entry in /etc/passwd, and PostgreSQL cannot"
            " initialise a data directory without: run as a user that exists, add an entry, or set DATABASE_URL to a"
            " PostgreSQL server"
        )
    data_dir = pgdata.parent
    for left_over in data_dir.glob("init[0-9]*"):
        shutil.rmtree(left_over)
    building = data_dir / f"init{os.getpid()}"
    building.mkdir(mode=0o700)
    try:
        if account.lent:
            os.chown(building, account.uid, account.gid)
        _initdb(binaries, building, account, sync=sync)
        building.rename(pgdata)
    except BaseException:
        shutil.rmtree(building, ignore_errors=True)
        raise
    if sync:
        _sync_directory(data_dir)


def _initdb(binaries: Binaries, directory: Path, account: Account, *, sync: bool) -> None:
    # The builtin provider sorts the same on every machine, whatever its C library.
    builtin = ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"] if binaries.major >= 17 else []
    command: list[str | Path] = [
        binaries.bin_dir / "initdb",
        "--pgdata",
        directory,
        "--username=postgres",
        "--auth-local=trust",
        "--auth-host=reject",
        "--encoding=UTF8",
        "--locale=C",
        *builtin,
        "--data-checksums",
        "--no-instructions",
        *([] if sync else ["--no-sync"]),
    ]
    process = spawn(command, account, output=subprocess.PIPE, directory=directory.parent)
    try:
        told = process.communicate()[0].decode(errors="replace").splitlines()
    except BaseException:
        process.terminate()
        process.communicate()
        raise
    if process.returncode != 0:
        raise EmbeddedUnavailable(
            f"initdb of {binaries} failed in {directory.parent} ({ending(process.returncode)}):{indented(told[-12:])}"
        )


def ending(code: int) -> str:
    """How a process ended, in words."""
    return f"exit code {code}" if code > 0 else f"ended by {signal.Signals(-code).name}"


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
