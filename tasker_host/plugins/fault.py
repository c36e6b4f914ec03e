"""What is wrong with a plugin: one `Fault` for log, command line, API and page alike."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import NoReturn

from tasker_host.domain.text import said


class Stage(StrEnum):
    """How far the plugin came."""

    DISCOVERY = "discovery"
    VERSION = "version"
    IMPORT = "import"
    HOOKS = "hooks"
    SETTINGS = "settings"
    COLLECT = "collect"
    NAMES = "names"
    LIFESPAN = "lifespan"


@dataclass(frozen=True, slots=True)
class Fault:
    """`hook` is empty where none is concerned; `hint` says what to do, where `error` does not say it already."""

    stage: Stage
    error: str
    hook: str = ""
    hint: str = ""

    def __str__(self) -> str:
        """`collect · tasker_handlers: ValueError: no gateway (tasker_payments/plugin.py:14); …`"""
        hook = f"{self.hook}: " if self.hook else ""
        return f"{self.stage} · {hook}{self.error}{f'; {self.hint}' if self.hint else ''}"


class FaultyError(Exception):
    """A plugin cannot be used."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(map(str, self.faults)))


def refuse(stage: Stage, error: str, *, hook: str = "", hint: str = "") -> NoReturn:
    raise FaultyError([Fault(stage, error, hook, hint)])


@contextmanager
def plugin_code(stage: Stage, hook: str = "") -> Iterator[None]:
    """Around code of a plugin: whatever it raises is its fault, and nobody else's."""
    try:
        yield
    except (FaultyError, KeyboardInterrupt, GeneratorExit):
        raise  # Ctrl-C is the user's, whoever's code it interrupts
    except BaseException as error:
        raise FaultyError([fault_of(error, stage, hook)]) from error


def fault_of(error: BaseException, stage: Stage, hook: str = "") -> Fault:
    """The fault that an exception of a plugin's code is."""
    where = _place(error)
    return Fault(stage, f"{told(error)} ({where})" if where else told(error), hook)


def told(error: BaseException) -> str:
    """Kind and message of what a plugin's code raised."""
    if isinstance(error, SystemExit):
        return f"it called sys.exit({error.code!r})"
    kind = type(error).__qualname__
    text = said(error)
    return f"{kind}: {text}" if text else kind


# Places ---------------------------------------------------------------------------------------------------------------

_OURS = str(Path(__file__).parents[1])
_MACHINERY = ("pluggy", "importlib", "importlib_metadata", "contextlib.py", "pydantic")


def _place(error: BaseException) -> str:
    """`tasker_payments/plugin.py:14`: the last place in the plugin's own code; empty when it never got there."""
    if isinstance(error, SyntaxError) and error.filename:
        return ""  # its message has the place
    for frame, line in reversed(list(traceback.walk_tb(error.__traceback__))):
        file = frame.f_code.co_filename
        if file.startswith(("<", _OURS)):
            continue
        short = short_path(file)
        if short.partition("/")[0] not in _MACHINERY:
            return f"{short}:{line}"
    return ""


def short_path(file: str) -> str:
    """The path as it is imported: without the folder of `sys.path` that it was found in."""
    path = Path(file)
    folders = [Path(folder) for folder in sys.path if folder and path.is_relative_to(folder)]
    longest = max(folders, key=lambda folder: len(folder.parts), default=None)
    return file if longest is None else path.relative_to(longest).as_posix()
