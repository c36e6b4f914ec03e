"""Whether a run came to the same as another one. What differs between two undisturbed runs by itself does not count."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard

from tasker_host.domain.json import dumps
from tasker_host.testing.times import THEN

STATE, VALUE = " · state", " · value"
"""Ends of the names of facts about a step."""

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Difference:
    """`where` is in what came of the run: `step charge · value.amount`, `effects · ledger`."""

    where: str
    expected: str
    found: str

    def __str__(self) -> str:
        return f"{self.where}: {self.found}; undisturbed: {self.expected}"

    def as_json(self) -> dict[str, str]:
        return {"where": self.where, "undisturbed": self.expected, "found": self.found}


@dataclass(frozen=True, slots=True)
class Traces:
    """What a run left: `facts` by name, each a JSON value; `rows` by name, in an order that says nothing."""

    facts: Mapping[str, Any]
    rows: Mapping[str, Any]


class Comparison:
    """With `one`, an undisturbed run. What `other`, another one, has otherwise is `volatile`, and is not compared."""

    def __init__(self, one: Traces, other: Traces) -> None:
        self._one = one
        self._paths: dict[str, set[Path]] = {}
        self._columns: dict[str, set[str]] = {}
        self.unsteady: list[Difference] = []
        """What cannot be left out: how many there are of something."""
        for name, difference in self._learned(other):
            self.unsteady.append(Difference(name, *difference))

    def learn(self, other: Traces) -> None:
        """What this undisturbed run has otherwise differs by itself, too."""
        self._learned(other)

    def _learned(self, other: Traces) -> list[tuple[str, tuple[str, str]]]:
        """What differs in how many there are of something, which cannot be left out."""
        found = []
        for name, fact in self._one.facts.items():
            paths = self._paths.setdefault(name, set())
            for path, left, right in _differing(fact, other.facts.get(name)):
                if isinstance(left, list | dict) or isinstance(right, list | dict):
                    found.append((_told(name, path), (_short(left), _short(right))))
                paths.add(path)
        for name, rows in self._one.rows.items():
            theirs = other.rows.get(name)
            if not (_are_rows(rows) and _are_rows(theirs) and len(rows) == len(theirs)):
                if rows != theirs:
                    found.append((name, (_counted(rows), _counted(theirs))))
                continue
            columns = self._columns.setdefault(name, set())
            columns.update(c for row in rows for c in row if _column(rows, c) != _column(theirs, c))
        return found

    @property
    def volatile(self) -> list[str]:
        """What is not compared: `step charge · value.id`."""
        of_facts = [_told(name, path) for name, paths in self._paths.items() for path in sorted(paths, key=repr)]
        return of_facts + [f"{name}.{column}" for name, columns in self._columns.items() for column in sorted(columns)]

    def differences(self, run: Traces) -> list[Difference]:
        """What `run` has otherwise, the outcome first."""
        found = []
        for name, fact in self._one.facts.items():
            if name not in run.facts:
                found.append(Difference(name, _short(fact), "nothing"))
                continue
            for path, left, right in _differing(fact, run.facts[name]):
                if not any(path[: len(masked)] == masked for masked in self._paths[name]):
                    found.append(Difference(_told(name, path), _short(left), _short(right)))
        found += [
            Difference(name, "nothing", _short(fact)) for name, fact in run.facts.items() if name not in self._one.facts
        ]
        for name in [*self._one.rows, *(name for name in run.rows if name not in self._one.rows)]:
            if difference := self._of_rows(name, run.rows.get(name)):
                found.append(difference)
        # That a step in another state has no value need not be said.
        ended_otherwise = {each.where.removesuffix(STATE) for each in found if each.where.endswith(STATE)}
        return [each for each in found if each.where.removesuffix(VALUE) not in ended_otherwise]

    def _of_rows(self, name: str, theirs: Any) -> Difference | None:
        ours = self._one.rows.get(name)
        masked = self._columns.get(name, set())
        if not (_are_rows(ours) and _are_rows(theirs)):
            return None if ours == theirs else Difference(name, _short(ours), _short(theirs))
        left, right = _texts(ours, masked), _texts(theirs, masked)
        if left == right:
            return None
        more, less = _without(right, left), _without(left, right)
        told = [*(f"+ {text}" for text in more[:3]), *(f"- {text}" for text in less[:3])]
        return Difference(name, _counted(ours), f"{_counted(theirs)} ({', '.join(told)})")


def _differing(one: Any, other: Any, path: Path = ()) -> Iterator[tuple[Path, Any, Any]]:
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        for key in one:
            yield from _differing(one[key], other[key], (*path, key))
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for index, (left, right) in enumerate(zip(one, other, strict=True)):
            yield from _differing(left, right, (*path, index))
    elif one != other or type(one) is not type(other):
        yield path, one, other


def _told(name: str, path: Path) -> str:
    return name + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)


def _are_rows(value: Any) -> TypeGuard[list[dict[str, Any]]]:
    return isinstance(value, list) and all(isinstance(row, dict) for row in value)


def _column(rows: list[dict[str, Any]], column: str) -> list[str]:
    return sorted(dumps(row.get(column)) for row in rows)


def _texts(rows: list[dict[str, Any]], masked: set[str]) -> list[str]:
    return sorted(
        dumps({key: value for key, value in row.items() if key not in masked and value != THEN}) for row in rows
    )


def _without(these: list[str], those: list[str]) -> list[str]:
    left = list(those)
    found = []
    for text in these:
        if text in left:
            left.remove(text)
        else:
            found.append(text if len(text) <= 120 else f"{text[:117]}…")
    return found


def _counted(rows: Any) -> str:
    if not _are_rows(rows):
        return _short(rows)
    return f"{len(rows)} row{'' if len(rows) == 1 else 's'}"


def _short(value: Any) -> str:
    text = dumps(value)
    return text if len(text) <= 120 else f"{text[:117]}…"
