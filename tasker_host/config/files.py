"""TOML files: found, read, each value with its line."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from tasker_host.config.layers import Layer
from tasker_host.config.locate import locate
from tasker_host.config.origins import Origin, label
from tasker_host.errors import Problem

_PLACE = re.compile(r"^(?P<what>.*) \(at (?:line (?P<line>\d+), column (?P<column>\d+)|end of document)\)$", re.DOTALL)
_PACKAGE = Path(__file__).parent


def shipped_root() -> Path:
    """The TOML that ships: inside an installed package, or at the top of the source tree."""
    packaged = _PACKAGE / "shipped"
    return packaged if packaged.is_dir() else _PACKAGE.parents[1] / "config"


def toml_files(folder: Path) -> list[Path]:
    """The TOML files of a folder, by name; none when there is no such folder. Raises OSError."""
    if not folder.is_dir():
        return []
    return sorted(file for file in folder.iterdir() if file.suffix == ".toml" and not file.name.startswith("."))


def read_file(file: Path, name: str) -> Layer:
    """Values of the file, with origins in `name`. Raises UnreadableError."""
    try:
        data = file.read_bytes()
    except OSError as error:
        raise UnreadableError(Problem(name, f"cannot be read: {error.strerror or error}")) from None
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        message = f"is not UTF-8: byte 0x{data[error.start]:02x}; save the file as UTF-8"
        raise UnreadableError(Problem(f"{name}:{line}", message)) from None
    try:
        values = tomllib.loads(text)
        lines = locate(text).lines
    except tomllib.TOMLDecodeError as error:
        raise UnreadableError(_malformed(text, name, str(error))) from None
    except RecursionError:
        raise UnreadableError(Problem(name, "is nested too deeply")) from None
    return Layer(values, {path: Origin(name, line) for path, line in lines.items()})


class UnreadableError(Exception):
    """A file that gives no values."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        super().__init__(str(problem))


def _malformed(text: str, name: str, message: str) -> Problem:
    found = _PLACE.match(message)
    if found is None:
        return Problem(name, f"is not TOML: {message}")
    lines = text.replace("\r\n", "\n").split("\n")
    if found["line"] is None:
        line, column = len(lines), len(lines[-1]) + 1
        if not lines[-1] and line > 1:
            line, column = line - 1, len(lines[-2]) + 1  # the end of the last line that has something
    else:
        line, column = int(found["line"]), int(found["column"])
    return _repeated(lines[:line], name) or Problem(f"{name}:{line}:{column}", f"is not TOML: {found['what']}")


def _repeated(lines: list[str], name: str) -> Problem | None:
    """The key that is there twice, when that is what is wrong with these first lines."""
    try:
        places = locate("\n".join(lines))
    except (ValueError, RecursionError):
        return None
    if not places.repeated:
        return None
    path, line = places.repeated[0]
    return Problem(
        f"{name}:{line}", f"{label(path)}: is set twice, first on line {places.lines[path]}; keep one of them"
    )
