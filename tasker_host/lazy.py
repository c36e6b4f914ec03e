"""Names of a package that are loaded when they are first used."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any


def lazy_names(
    package: str, homes: Mapping[str, Sequence[str]]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """`__getattr__` and `__dir__` of `package`, whose modules have these names."""
    home_of = {name: f"{package}.{module}" for module, names in homes.items() for name in names}
    own = vars(sys.modules[package])

    def attribute(name: str) -> Any:
        try:
            home = home_of[name]
        except KeyError:
            raise AttributeError(f"module '{package}' has no attribute '{name}'") from None
        value = own[name] = getattr(import_module(home), name)
        return value

    return attribute, lambda: sorted({*own, *home_of})
