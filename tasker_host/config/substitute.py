"""`${VAR}` and `${VAR:-default}` inside text, as a shell writes them; `$${` stands for a plain `${`."""

from __future__ import annotations

import re
from collections.abc import Mapping

_REFERENCE = re.compile(r"\$\$\{|\$\{(?P<inside>[^}]*)(?P<end>\}?)")
_INSIDE = re.compile(r"(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?P<fallback>:-(?P<default>.*))?", re.DOTALL)


class SubstitutionError(Exception):
    """A reference to a variable that is not set, or that is not written as one."""


def substitute(text: str, environ: Mapping[str, str]) -> tuple[str, tuple[str, ...]]:
    """The text with its references replaced, and the names of the variables that gave it something.

    A default stands in for a variable that is empty, too. Raises SubstitutionError.
    """
    used: list[str] = []

    def replaced(reference: re.Match[str]) -> str:
        if reference.group() == "$${":
            return "${"
        found = _INSIDE.fullmatch(reference["inside"])
        if found is None or not reference["end"]:
            raise SubstitutionError(
                f"{reference.group()!r} is neither ${{NAME}} nor ${{NAME:-default}}; write $${{ for a plain ${{"
            )
        name = found["name"]
        value = environ.get(name)
        if value is not None and not is_text(value):
            raise SubstitutionError(f"variable {name} is not UTF-8")
        if value or (value is not None and not found["fallback"]):
            used.append(name)
            return value
        if not found["fallback"]:
            raise SubstitutionError(f"variable {name} is not set; set it, or write ${{{name}:-default}}")
        return str(found["default"])

    return _REFERENCE.sub(replaced, text), tuple(dict.fromkeys(used))


def is_text(value: str) -> bool:
    """Whether the bytes behind an environment variable were UTF-8."""
    return not any("\ud800" <= character <= "\udfff" for character in value)
