"""Reading a DSN without telling what is secret in it."""

from __future__ import annotations

import re
from urllib.parse import SplitResult, parse_qsl, urlsplit

_SCHEMES = ("postgresql", "postgres")
_HOST = re.compile(r"(\[[0-9a-fA-F:.%]+\]|[^\[\]:]*)(:(?P<port>\d{0,5}))?")
_LAST_PORT = 65535
_FILES = ("host", "sslrootcert", "sslcert", "sslkey", "sslcrl", "passfile")


def shown(dsn: str) -> str:
    """The DSN without its password and options, for messages and logs."""
    try:
        read = parts(dsn)
    except ValueError:
        return "an unreadable URL"
    hosts = read.netloc.rpartition("@")[2] or "local socket"
    return f"{read.scheme}://{read.username + '@' if read.username else ''}{hosts}{read.path}"


def parts(dsn: str) -> SplitResult:
    """Raises ValueError, which says what is wrong and quotes none of it: what is misread may be the password."""
    try:
        read = urlsplit(dsn.strip())
        parse_qsl(read.query, strict_parsing=bool(read.query))
    except ValueError:
        raise ValueError("it is not a URL, or holds a character that must be escaped") from None
    if read.scheme not in _SCHEMES or not dsn.strip().startswith(f"{read.scheme}://"):
        raise ValueError("it does not start with postgresql://")
    # A password with / ? or # in it ends the part that names the host, and what follows it holds the @.
    if "#" in dsn or ("@" in read.path and "@" not in read.netloc):
        raise ValueError("it holds a character that must be escaped")
    for host in read.netloc.rpartition("@")[2].split(","):
        matched = _HOST.fullmatch(host)
        if matched is None or int(matched["port"] or 0) > _LAST_PORT:
            raise ValueError("the host or the port is not one")
    return read


def files(dsn: str) -> list[str]:
    """The paths that the DSN names: socket directories and TLS files."""
    return [value for key, value in parse_qsl(parts(dsn).query) if key in _FILES and value.startswith("/")]
