"""Where the steps of a graph stand when it is drawn: in layers by their distance from a start, with few crossings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tasker_host.domain.graph import Graph, children, parents, steps_by_level

_SWEEPS = 6
_GAP_X, _GAP_Y = 36.0, 56.0
_MARGIN = 16.0
_BEND = 12.0
"""Width that an edge takes where it passes a layer."""


@dataclass(frozen=True, slots=True)
class Box:
    """Centre and size."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Layout:
    boxes: Mapping[str, Box]
    edges: Mapping[tuple[str, str], tuple[tuple[float, float], ...]]
    """From parent to child: the points the edge goes through."""
    width: float
    height: float


_Node = str | tuple[str, str, int]
"""A step, or the place where an edge (parent, child) passes a layer."""


def layout(graph: Graph, *, width_of: Callable[[str], float], height: float = 44.0) -> Layout:
    """The same graph gives the same layout. Raises ValueError when it has a cycle."""
    rows, above = _rows(graph)
    _uncross(rows, above)
    size = {node: width_of(node) if isinstance(node, str) else _BEND for row in rows for node in row}
    x = _across(rows, above, size)
    y = {node: _MARGIN + height / 2 + index * (height + _GAP_Y) for index, row in enumerate(rows) for node in row}
    left = min((x[node] - size[node] / 2 for node in x), default=0.0) - _MARGIN
    x = {node: value - left for node, value in x.items()}
    boxes = {node: Box(x[node], y[node], size[node], height) for node in x if isinstance(node, str)}
    edges = {}
    for child, names in parents(graph).items():
        for parent in dict.fromkeys(names):
            bends = [node for row in rows for node in row if not isinstance(node, str) and node[:2] == (parent, child)]
            start, end = (x[parent], y[parent] + height / 2), (x[child], y[child] - height / 2)
            edges[parent, child] = (start, *((x[node], y[node]) for node in bends), end)
    right = max((x[node] + size[node] / 2 for node in x), default=0.0) + _MARGIN
    return Layout(boxes, edges, right, 2 * _MARGIN + len(rows) * (height + _GAP_Y) - (_GAP_Y if rows else 0))


def _rows(graph: Graph) -> tuple[list[list[_Node]], dict[_Node, list[_Node]]]:
    """The layers, long edges cut at each of them, and what each node has directly above it."""
    rows: list[list[_Node]] = [list(row) for row in steps_by_level(graph)]
    level = {node: index for index, row in enumerate(rows) for node in row}
    above: dict[_Node, list[_Node]] = {node: [] for row in rows for node in row}
    for parent, names in children(graph).items():
        for child in dict.fromkeys(names):
            last: _Node = parent
            for passed in range(level[parent] + 1, level[child]):
                bend = (parent, child, passed)
                rows[passed].append(bend)
                above[bend] = [last]
                last = bend
            above[child].append(last)
    return rows, above


def _uncross(rows: list[list[_Node]], above: Mapping[_Node, list[_Node]]) -> None:
    """Orders each row by the middle of its neighbours in the next one, downwards and upwards in turn."""
    below: dict[_Node, list[_Node]] = {node: [] for node in above}
    for node, parents_of in above.items():
        for parent in parents_of:
            below[parent].append(node)
    for sweep in range(_SWEEPS):
        downwards = sweep % 2 == 0
        neighbours = above if downwards else below
        for index in range(1, len(rows)) if downwards else range(len(rows) - 2, -1, -1):
            place = {node: spot for spot, node in enumerate(rows[index - 1 if downwards else index + 1])}
            own = {node: float(spot) for spot, node in enumerate(rows[index])}
            middle = {
                node: sum(place[other] for other in others) / len(others) if (others := neighbours[node]) else own[node]
                for node in rows[index]
            }
            rows[index].sort(key=lambda node, middle=middle: middle[node])  # type: ignore[misc]


def _across(
    rows: list[list[_Node]], above: Mapping[_Node, list[_Node]], size: Mapping[_Node, float]
) -> dict[_Node, float]:
    """Each node below the middle of what is above it, as far as its row leaves room; rows are centred."""
    x: dict[_Node, float] = {}
    for row in rows:
        taken: float | None = None
        wanted: list[float] = []
        for node in row:
            parents_of = above[node]
            wish = sum(x[parent] for parent in parents_of) / len(parents_of) if parents_of else 0.0
            lowest = wish if taken is None else taken + _GAP_X + size[node] / 2
            x[node] = max(wish, lowest) if parents_of else lowest
            wanted.append(wish if parents_of else x[node])
            taken = x[node] + size[node] / 2
        # What had to give way did so to the right; the row as a whole goes back by half of it.
        shift = sum(wish - x[node] for wish, node in zip(wanted, row, strict=True)) / max(1, len(row))
        for node in row:
            x[node] += shift
    return x
