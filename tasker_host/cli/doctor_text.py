"""Where the files of a package mention a name.

Nothing is imported: what is broken or disabled can be read all the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

_MOST_FILES = 2000
_MOST_BYTES = 1_000_000


@dataclass(frozen=True, slots=True)
class Mention:
    """A line of a file below the folder of the package."""

    file: str
    line: int

    @property
    def is_yaml(self) -> bool:
        return self.file.endswith((".yaml", ".yml"))

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


def mentions(module: str, name: str) -> Iterator[Mention]:
    """Places in the package of `module`, Python before YAML, where `name` stands between quotes; of `namespace/name`,
    the YAML file of that template."""
    files = sorted(_files(module), key=lambda file: (file.suffix != ".py", file))
    namespace, _, template = name.partition("/")
    for file in files[:_MOST_FILES]:
        try:
            text = file.read_text("utf-8", errors="replace") if file.stat().st_size <= _MOST_BYTES else ""
        except OSError:
            continue
        found: re.Match[str] | None
        if template:
            found = _key("name", template).search(text)
            if file.suffix == ".py" or not _key("namespace_name", namespace).search(text):
                continue
        else:
            found = re.search(rf"""(["']){re.escape(name)}\1""", text) if file.suffix == ".py" else None
        if found is not None:
            root = _folder(module)
            shown = file if root is None else file.relative_to(root.parent)
            yield Mention(shown.as_posix(), text.count("\n", 0, found.start()) + 1)


def _key(key: str, value: str) -> re.Pattern[str]:
    return re.compile(rf"""^{key}:\s*["']?{re.escape(value)}["']?\s*(#.*)?$""", re.MULTILINE)


def _files(module: str) -> Iterator[Path]:
    folder = _folder(module)
    if folder is not None and folder.is_dir():
        yield from (file for file in folder.rglob("*") if file.suffix in (".py", ".yaml", ".yml"))
    elif folder is not None:
        yield folder


def _folder(module: str) -> Path | None:
    """The folder of the package, or the file of a module by itself."""
    package = module.partition(":")[0].partition(".")[0]
    try:
        spec = find_spec(package) if package else None  # of a name without dots: finds, imports nothing
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    if spec.submodule_search_locations:
        return Path(next(iter(spec.submodule_search_locations)))
    return Path(spec.origin) if spec.origin and Path(spec.origin).is_file() else None
