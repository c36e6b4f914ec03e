"""Lines of the keys of a TOML text; tomllib reads the values but tells no places."""

from __future__ import annotations

import re
import tomllib
from bisect import bisect_left
from dataclasses import dataclass, field

from tasker_host.domain.faults import Path

_BLANK = re.compile(r"(?:[ \t\n]|#[^\n]*)*")
_SPACE = re.compile(r"[ \t]*")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_STRING = re.compile(
    r'"""(?:[^\\]|\\.)*?"""(?:"{0,2})'  # a string may end in up to two quotes of its own
    r"|'''.*?'''(?:'{0,2})"
    r'|"(?:[^"\\\n]|\\.)*"'
    r"|'[^'\n]*'",
    re.DOTALL,
)
_SCALAR = re.compile(r"[^,\]}#\n]+")


@dataclass(frozen=True, slots=True)
class Places:
    """`lines` has each key, table and array element by its path (an index for an element), counted from 1.

    A key has the line where it is written, a table that of its header, else of its first mention. `repeated` lists
    paths written a second time, with that line; tomllib refuses those.
    """

    lines: dict[Path, int] = field(default_factory=dict)
    repeated: list[tuple[Path, int]] = field(default_factory=list)


def locate(text: str) -> Places:
    """The places in a text that tomllib reads, or refuses only because a key is repeated; else ValueError."""
    scanner = _Scanner(text.replace("\r\n", "\n"))
    scanner.document()
    return scanner.places


class _Scanner:
    def __init__(self, text: str) -> None:
        self.places = Places()
        self._text = text
        self._at = 0
        self._ends = [match.start() for match in re.finditer("\n", text)]
        self._table: Path = ()
        self._defined: set[Path] = set()
        """What was written in its own right: keys, tables with a header, tables made by dotted keys."""
        self._elements: dict[Path, int] = {}
        """How many elements each array of tables has so far."""

    def document(self) -> None:
        while True:
            self._skip(_BLANK)
            if self._at >= len(self._text):
                return
            if self._peek() == "[":
                self._header()
            else:
                self._key_and_value(self._table)

    # Tables -----------------------------------------------------------------------------------------------------------

    def _header(self) -> None:
        line = self._line()
        is_element = self._text.startswith("[[", self._at)
        self._at += 2 if is_element else 1
        *parents, name = self._keys()
        self._take("]]" if is_element else "]")
        path: Path = ()
        for parent in parents:
            path = self._latest((*path, parent))
            self.places.lines.setdefault(path, line)
        path = (*path, name)
        if is_element:
            index = self._elements.get(path, 0)
            self._elements[path] = index + 1
            if index == 0:
                self._define(path, line)
            path = (*path, index)
        self._table = path
        self._define(path, line)

    def _define(self, path: Path, line: int) -> None:
        """Note a header. A table that another header only mentioned on its way may still have its own."""
        if path in self._defined:
            self.places.repeated.append((path, line))
        else:
            self._defined.add(path)
            self.places.lines[path] = line

    def _latest(self, path: Path) -> Path:
        """`path`, or its latest element when it is an array of tables."""
        count = self._elements.get(path)
        return path if count is None else (*path, count - 1)

    # Keys and values --------------------------------------------------------------------------------------------------

    def _key_and_value(self, table: Path) -> None:
        line = self._line()
        *parents, name = self._keys()
        self._take("=")
        path = table
        for parent in parents:
            path = (*path, parent)
            self._defined.add(path)
            self.places.lines.setdefault(path, line)
        path = (*path, name)
        if path in self.places.lines:
            self.places.repeated.append((path, line))
        else:
            self._defined.add(path)
            self.places.lines[path] = line
        self._value(path)

    def _keys(self) -> list[str]:
        """The parts of a dotted key."""
        parts = []
        while True:
            self._skip(_SPACE)
            if self._peek() in {'"', "'"}:
                quoted = self._match(_STRING)
                parts.append(str(tomllib.loads(f"key = {quoted}")["key"]))
            else:
                parts.append(self._match(_BARE_KEY))
            self._skip(_SPACE)
            if self._peek() != ".":
                return parts
            self._at += 1

    def _value(self, path: Path) -> None:
        self._skip(_SPACE)
        match self._peek():
            case '"' | "'":
                self._match(_STRING)
            case "[":
                self._array(path)
            case "{":
                self._inline_table(path)
            case _:
                self._match(_SCALAR)

    def _array(self, path: Path) -> None:
        self._take("[")
        index = 0
        while not self._closes("]"):
            self.places.lines[(*path, index)] = self._line()
            self._value((*path, index))
            index += 1
            self._separator("]")

    def _inline_table(self, path: Path) -> None:
        self._take("{")
        while not self._closes("}"):
            self._key_and_value(path)
            self._separator("}")

    def _closes(self, bracket: str) -> bool:
        self._skip(_BLANK)
        if self._peek() != bracket:
            return False
        self._at += 1
        return True

    def _separator(self, bracket: str) -> None:
        self._skip(_BLANK)
        if self._peek() != bracket:
            self._take(",")

    # Text -------------------------------------------------------------------------------------------------------------

    def _line(self) -> int:
        return bisect_left(self._ends, self._at) + 1

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _skip(self, pattern: re.Pattern[str]) -> None:
        if found := pattern.match(self._text, self._at):
            self._at = found.end()

    def _match(self, pattern: re.Pattern[str]) -> str:
        found = pattern.match(self._text, self._at)
        if found is None:
            raise ValueError(f"not TOML at line {self._line()}")
        self._at = found.end()
        return found.group()

    def _take(self, expected: str) -> None:
        self._skip(_SPACE)
        if not self._text.startswith(expected, self._at):
            raise ValueError(f"not TOML at line {self._line()}: expected {expected!r}")
        self._at += len(expected)
