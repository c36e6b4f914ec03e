"""The documentation as data: sections, tables, code spans, code blocks and links of Markdown pages."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
NAMES = (
    "events",
    "writing-a-plugin",
    "templates",
    "handlers",
    "testing",
    "plugins",
    "configuration",
    "cli",
    "api",
    "clients",
    "operations",
    "internals",
    "errors",
)

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_SPAN = re.compile(r"`([^`\n]+)`")
_HEADING = re.compile(r"^(#+) (.+)$", re.MULTILINE)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


@dataclass(frozen=True)
class Block:
    """A fenced block of code; `line` is where it begins on its page."""

    page: str
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def file(self) -> str:
        """The path that the first line names in a comment (`# src/…/plugin.py`); empty without one."""
        found = re.match(r"# (\S+\.\w+)\n", self.text)
        return found[1] if found else ""


@dataclass(frozen=True)
class Page:
    path: Path
    text: str

    @property
    def name(self) -> str:
        return self.path.relative_to(ROOT).as_posix()

    def blocks(self, *languages: str) -> list[Block]:
        return [
            Block(self.name, self.text.count("\n", 0, found.start()) + 1, found[1], found[2])
            for found in _FENCE.finditer(self.text)
            if found[1] in languages
        ]

    @property
    def prose(self) -> str:
        """The page without its blocks, which keep their lines."""
        return _FENCE.sub(lambda found: "\n" * found[0].count("\n"), self.text)

    def spans(self) -> set[str]:
        return set(_SPAN.findall(self.prose))

    def headings(self) -> list[str]:
        return [found[2] for found in _HEADING.finditer(self.prose)]

    def anchors(self) -> set[str]:
        """As GitHub makes them."""
        return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in self.headings()}

    def links(self) -> list[str]:
        return [link for link in _LINK.findall(self.prose) if "://" not in link]

    def section(self, heading: str) -> str:
        """What stands under the heading, up to the next one of any level."""
        found = list(_HEADING.finditer(self.prose))
        for this, after in zip(found, [*found[1:], None], strict=True):
            if this[2] == heading:
                return self.prose[this.end() : after.start() if after else None]
        raise AssertionError(f"{self.name} has no heading '{heading}'; it has {self.headings()}")

    def tables(self, heading: str) -> list[list[list[str]]]:
        return [list(rows) for rows in _tables(self.section(heading))]

    def table(self, heading: str, column: str) -> list[list[str]]:
        """The rows below the heading's table whose first column is called so, without the header."""
        for rows in self.tables(heading):
            if rows[0][0] == column:
                return rows[1:]
        raise AssertionError(f"{self.name}, '{heading}': no table with the column '{column}'")


def _tables(text: str) -> Iterator[list[list[str]]]:
    rows: list[list[str]] = []
    for line in [*text.splitlines(), ""]:
        if line.startswith("|"):
            if not re.fullmatch(r"[|\s:-]+", line) or "---" not in line:
                rows.append([cell.strip() for cell in line.strip("|").split("|")])
        elif rows:
            yield rows
            rows = []


def code(cell: str) -> list[str]:
    """The code spans of a cell or a text."""
    return _SPAN.findall(cell)


@cache
def read(path: Path) -> Page:
    return Page(path, path.read_text("utf-8"))


def page(name: str) -> Page:
    """`docs/<name>.md`"""
    return read(ROOT / "docs" / f"{name}.md")


def readme() -> Page:
    return read(ROOT / "README.md")


def everything() -> list[Page]:
    return [readme(), *(read(path) for path in sorted((ROOT / "docs").glob("*.md")))]
