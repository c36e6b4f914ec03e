"""Handlers by the path of their code, `orders.handlers.ChargeCard`, from packages that may be imported from."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterable
from types import ModuleType
from typing import Any

from tasker_host.domain.suggest import did_you_mean
from tasker_host.handlers.declare import declaration
from tasker_host.handlers.step import StepHandler
from tasker_host.hooks.bound import BindError
from tasker_host.hooks.records import Handler

_PATH = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")


def is_path(name: str) -> bool:
    """Whether it may be one: words joined by dots, of which the last may be a class."""
    return _PATH.fullmatch(name) is not None and name.rpartition(".")[2][0].isupper()


def read(path: str, packages: Iterable[str]) -> Any:
    """The handler at `path`; None when no package of `packages` has it, and nothing was imported.

    Only what its author declared as a handler, in a module of these packages: a template calls nothing else. Raises
    BindError.
    """
    packages = tuple(packages)
    if not _PATH.fullmatch(path) or not _within(path, packages):
        return None
    place, _, name = path.rpartition(".")
    module = _imported(place, path)
    known = [other for other, value in vars(module).items() if _is_handler(value, packages)]
    given = vars(module).get(name)
    if name in known:
        return given
    hint = did_you_mean(name, known) or (f"; it has {', '.join(known)}" if known else "")
    if given is None:
        raise BindError([f"module '{place}' has no handler '{name}'{hint}"])
    home = _home(given)
    if isinstance(home, str) and not _within(home, packages):
        raise BindError([f"'{path}' is of module '{home}', from which no handler may be imported{hint}"])
    decorate = 'put @step_handler("…") on it, or derive it from StepHandler'
    raise BindError([f"'{path}' is not declared as a handler; {decorate}"])


def _imported(place: str, path: str) -> ModuleType:
    try:
        return importlib.import_module(place)
    except ModuleNotFoundError as error:
        if error.name is not None and _within(place, (error.name,)):
            raise BindError([f"no handler '{path}': there is no module '{error.name}'"]) from error
        raise BindError([f"no handler '{path}': importing '{place}' needs the module '{error.name}'"]) from error
    except (Exception, SystemExit) as error:  # the module's own code
        raise BindError([f"no handler '{path}': importing '{place}' raised {type(error).__name__}: {error}"]) from error


def _is_handler(value: Any, packages: tuple[str, ...]) -> bool:
    declared = (
        isinstance(value, StepHandler | Handler)
        or (isinstance(value, type) and issubclass(value, StepHandler))
        or (callable(value) and bool(declaration(value).names))
    )
    home = _home(value)
    return declared and isinstance(home, str) and _within(home, packages)


def _home(value: Any) -> Any:
    """The module of its code."""
    if isinstance(value, Handler):
        value = value.call
    elif isinstance(value, StepHandler):
        value = type(value)
    return getattr(value, "__module__", None)


def _within(path: str, packages: Iterable[str]) -> bool:
    return any(path == package or path.startswith(f"{package}.") for package in packages)
