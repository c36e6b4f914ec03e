"""Who the server runs as. PostgreSQL refuses root, so root lends it an account that already exists."""

from __future__ import annotations

import os
import pwd
from dataclasses import dataclass
from pathlib import Path

from tasker_host.errors import EmbeddedUnavailable

_LENT = ("postgres", "nobody")


@dataclass(frozen=True, slots=True)
class Account:
    """The server's user and group. `lent` when it is not the one this process runs as."""

    name: str
    uid: int
    gid: int
    lent: bool


def server_account(pgdata: Path) -> Account:
    """Ourselves; under root the owner of the existing `pgdata`, else `postgres`, else `nobody`.

    Raises EmbeddedUnavailable when no account can run the server in `pgdata`.
    """
    owner = pgdata.stat().st_uid if pgdata.exists() else None
    ourselves = os.geteuid()
    if ourselves != 0:
        if owner not in (None, ourselves):
            raise EmbeddedUnavailable(
                f"{pgdata} belongs to {_name(owner)}, and this process runs as {_name(ourselves)}:"
                " run it as the owner, or set database.data_dir to a directory of your own"
            )
        return Account(_name(ourselves), ourselves, os.getegid(), lent=False)
    if owner == 0:
        raise EmbeddedUnavailable(
            f"{pgdata} belongs to root, and PostgreSQL does not run as root:"
            f" chown -R {_lent().name} {pgdata}, or set database.data_dir to another directory"
        )
    return _lent() if owner is None else Account(_name(owner), owner, pgdata.stat().st_gid, lent=True)


def has_entry(uid: int) -> bool:
    """Whether the system knows a name for `uid`; `initdb` does not work without."""
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True


def closed_to(account: Account, directory: Path) -> Path | None:
    """The topmost of `directory` and those above it that `account` may not pass; None when it may pass all."""
    for part in reversed((directory, *directory.parents)):
        found = part.stat()
        needed = 0o100 if found.st_uid == account.uid else 0o010 if found.st_gid == account.gid else 0o001
        if not found.st_mode & needed:
            return part
    return None


def _lent() -> Account:
    for name in _LENT:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        if entry.pw_uid != 0:
            return Account(name, entry.pw_uid, entry.pw_gid, lent=True)
    raise EmbeddedUnavailable(
        "PostgreSQL does not run as root, and there is no account `postgres` or `nobody` to run it as:"
        " start the host as an ordinary user, or set DATABASE_URL to a PostgreSQL server"
    )


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"
