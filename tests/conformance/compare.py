"""Comparing what was found with what a case expects: only the keys that it has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest


def compare(found: Any, expected: Any, where: str = "") -> None:
    """Only what `expected` says; numbers by value."""
    if isinstance(expected, Mapping):
        assert isinstance(found, Mapping), f"{where}: {found!r} is not {expected!r}"
        for key, value in expected.items():
            assert key in found, f"{where}.{key} is not there; there are {sorted(found)}"
            compare(found[key], value, f"{where}.{key}")
    elif isinstance(expected, float):
        assert found == pytest.approx(expected), f"{where}: {found!r} is not {expected!r}"
    elif isinstance(expected, list) and where.endswith(("edges", "retry_waits_seconds")):
        assert sorted(map(list, found)) == sorted(map(list, expected)), where
    elif isinstance(expected, list) and any(isinstance(item, Mapping) for item in expected):
        assert len(found) == len(expected), f"{where}: {found!r} is not {expected!r}"
        for index, (one, other) in enumerate(zip(found, expected, strict=True)):
            compare(one, other, f"{where}[{index}]")
    else:
        assert found == expected, f"{where}: {found!r} is not {expected!r}"
