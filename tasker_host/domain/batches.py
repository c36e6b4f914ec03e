"""Cutting work into batches: ranges that cover every item exactly once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

OUTCOME = "batch_processing_outcome"
"""The key under which an analyzer's value holds its batches."""

MOST_CURSORS = 256
"""Cursors that are kept in the value of an analyzer. Every worker is given that value, and has its own cursor in any
case: of ten thousand batches each would be handed all ten thousand."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """One batch: from `start_cursor` (inclusive) to `end_cursor` (exclusive), any JSON values; `batch_size` items.

    `more` are further keys, handed on as they are.
    """

    batch_id: str
    start_cursor: Any
    end_cursor: Any
    batch_size: int | None = None
    more: Mapping[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        known: dict[str, Any] = {
            "batch_id": self.batch_id,
            "start_cursor": self.start_cursor,
            "end_cursor": self.end_cursor,
        }
        if self.batch_size is not None:
            known["batch_size"] = self.batch_size
        return {**known, **self.more}


@dataclass(frozen=True, slots=True)
class Batches:
    """What an analyzer asks for: a worker for each cursor; none of them: one worker that has nothing to do.

    `worker_template` names the batch_worker step; None: the one below the analyzer.
    """

    cursors: tuple[Cursor, ...] = ()
    total_items: int = 0
    worker_template: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def as_value(self) -> dict[str, Any]:
        """The value of the analyzer's step."""
        if not self.cursors:
            return {OUTCOME: {"type": "no_batches"}, **self.metadata}
        outcome: dict[str, Any] = {"type": "create_batches"}
        if self.worker_template is not None:
            outcome["worker_template_name"] = self.worker_template
        outcome["worker_count"] = len(self.cursors)
        if len(self.cursors) <= MOST_CURSORS:
            outcome["cursor_configs"] = [cursor.as_json() for cursor in self.cursors]
        outcome["total_items"] = self.total_items
        return {OUTCOME: outcome, **self.metadata}


@dataclass(frozen=True, slots=True)
class BatchConfig:
    """`total_items` items in batches of `batch_size`; with `max_batches` in fewer and larger ones.

    `start` is the first cursor: a number, or a datetime, and then the items are seconds.
    """

    total_items: int
    batch_size: int
    max_batches: int | None = None
    start: int | datetime = 0
    worker_template: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def count(self) -> int:
        """How many batches. Raises ValueError when the numbers make no sense."""
        return -(-self.total_items // _fitting_size(self.total_items, self.batch_size, self.max_batches))

    def batches(self) -> Batches:
        """Cut. Raises ValueError when the numbers make no sense."""
        ranges = cursor_ranges(self.total_items, self.batch_size, max_batches=self.max_batches)
        cursors = tuple(
            Cursor(batch_id(number), self._at(start), self._at(end), end - start)
            for number, (start, end) in enumerate(ranges, start=1)
        )
        return Batches(cursors, self.total_items, self.worker_template, self.metadata)

    def _at(self, offset: int) -> Any:
        if isinstance(self.start, datetime):
            return (self.start + timedelta(seconds=offset)).isoformat()
        return self.start + offset


class WithCheckpoint:
    """What a handler may ask of its `checkpoint`: how far an earlier run of the same step came."""

    __slots__ = ()

    checkpoint: Mapping[str, Any] | None

    @property
    def checkpoint_cursor(self) -> Any:
        return None if self.checkpoint is None else self.checkpoint.get("cursor")

    @property
    def checkpoint_items_processed(self) -> int:
        return 0 if self.checkpoint is None else int(self.checkpoint.get("items_processed", 0))

    @property
    def accumulated_results(self) -> Any:
        return None if self.checkpoint is None else self.checkpoint.get("accumulated_results")

    def has_checkpoint(self) -> bool:
        return self.checkpoint_cursor is not None


@dataclass(frozen=True, slots=True)
class BatchWorkerContext(WithCheckpoint):
    """The batch of one worker: from `start_cursor` (inclusive) to `end_cursor` (exclusive).

    `cursor` is the whole cursor as the analyzer gave it, `batch_index` counts from 0 in `total_batches`, `metadata` is
    what the analyzer said of all batches. With `is_no_op` there is nothing to do: no batch was made.
    `checkpoint` is how far an earlier run of the same batch came.
    """

    batch_id: str
    cursor: Mapping[str, Any]
    batch_index: int
    total_batches: int
    is_no_op: bool
    metadata: Mapping[str, Any]
    checkpoint: Mapping[str, Any] | None = None

    @classmethod
    def of(
        cls, step_inputs: Mapping[str, Any], checkpoint: Mapping[str, Any] | None = None
    ) -> BatchWorkerContext | None:
        """From what the analyzer wrote for the worker; None when it wrote nothing."""
        cursor, metadata = step_inputs.get("cursor"), step_inputs.get("batch_metadata")
        if not isinstance(cursor, Mapping) or not isinstance(metadata, Mapping):
            return None
        return cls(
            str(metadata.get("batch_id")),
            cursor,
            int(metadata.get("batch_index", 0)),
            int(metadata.get("total_batches", 0)),
            bool(step_inputs.get("is_no_op")),
            metadata,
            checkpoint,
        )

    @property
    def start_cursor(self) -> Any:
        return self.cursor.get("start_cursor")

    @property
    def end_cursor(self) -> Any:
        return self.cursor.get("end_cursor")

    @property
    def batch_size(self) -> int | None:
        return self.cursor.get("batch_size")

    @property
    def resume_from(self) -> Any:
        """Where to go on: the cursor of the last checkpoint, or `start_cursor` when there is none."""
        return self.checkpoint_cursor if self.has_checkpoint() else self.start_cursor

    @property
    def step_size(self) -> int:
        """As the analyzer said it of the cursor; 1 when it did not."""
        return int(self.cursor.get("step_size", 1))


def cursor_ranges(total_items: int, batch_size: int, *, max_batches: int | None = None) -> list[tuple[int, int]]:
    """Half-open ranges from 0 that cover `total_items` exactly once, each of `batch_size` but the last.

    When that would be more than `max_batches`, the batches are made larger. Raises ValueError.
    """
    size = _fitting_size(total_items, batch_size, max_batches)
    return [(start, min(start + size, total_items)) for start in range(0, total_items, size)]


def _fitting_size(total_items: int, batch_size: int, max_batches: int | None) -> int:
    given: dict[str, object] = {"total_items": total_items, "batch_size": batch_size, "max_batches": max_batches or 1}
    for name, number in given.items():
        if not isinstance(number, int) or isinstance(number, bool):
            raise ValueError(f"{name} must be a whole number (got {_shown(number)})")
    if total_items < 0:
        raise ValueError(f"total_items must not be negative (got {total_items})")
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1 (got {batch_size})")
    if max_batches is not None and max_batches < 1:
        raise ValueError(f"max_batches must be at least 1 (got {max_batches})")
    return batch_size if max_batches is None else max(batch_size, -(-total_items // max_batches))


def batch_id(number: int) -> str:
    """The id of the batch of that number, from 1: 001, 002 …"""
    return f"{number:03}"


def batches_of(value: Any, *, most: int) -> Batches:
    """The batches that the value of an analyzer's step asks for. Raises ValueError that says what was found."""
    if isinstance(value, BatchConfig):
        # Before they are cut: so many may not even fit into memory.
        _check_count(value.count(), most)
        return value.batches()
    batches = value if isinstance(value, Batches) else _batches_said(value)
    _check_count(len(batches.cursors), most)
    return batches


def _check_count(count: int, most: int) -> None:
    if count > most:
        raise ValueError(
            f"an analyzer asked for {count} batches; the limit is {most} (limits.batch_workers_max): make them larger"
        )


def _batches_said(value: Any) -> Batches:
    outcome = value.get(OUTCOME, value) if isinstance(value, Mapping) else value
    if outcome == "no_batches":
        return Batches()
    kind = outcome.get("type") if isinstance(outcome, Mapping) else None
    if kind == "no_batches":
        return Batches()
    if kind != "create_batches":
        raise ValueError(
            f"an analyzer returns BatchConfig(…), Batches(…) or {{{OUTCOME!r}: {{'type': 'create_batches', …}}}}"
            f" (got {_shown(value)})"
        )
    configs = outcome.get("cursor_configs")
    if not isinstance(configs, Sequence) or isinstance(configs, str) or not configs:
        raise ValueError(f"cursor_configs must be a list with an entry for each worker (got {_shown(configs)})")
    count = outcome.get("worker_count")
    if count is not None and count != len(configs):
        raise ValueError(f"worker_count is {_shown(count)}, but cursor_configs has entries for {len(configs)}")
    cursors = tuple(_cursor(config, number) for number, config in enumerate(configs, start=1))
    total = outcome.get("total_items")
    if not isinstance(total, int):
        total = sum(cursor.batch_size or 0 for cursor in cursors)
    name = outcome.get("worker_template_name")
    if name is not None and not isinstance(name, str):
        raise ValueError(f"worker_template_name must be the name of a batch_worker step (got {_shown(name)})")
    return Batches(cursors, total, name)


def kept_value(value: Any, batches: Batches) -> Any:
    """What the step of an analyzer keeps that returned `value`, which asked for `batches`."""
    if isinstance(value, Batches | BatchConfig):
        return batches.as_value()
    if len(batches.cursors) <= MOST_CURSORS or not isinstance(value, Mapping):
        return value
    wrapped = OUTCOME in value
    outcome = dict(value[OUTCOME] if wrapped else value)
    del outcome["cursor_configs"]
    outcome["worker_count"] = len(batches.cursors)
    return {**value, OUTCOME: outcome} if wrapped else outcome


def _cursor(config: Any, number: int) -> Cursor:
    if not isinstance(config, Mapping):
        raise ValueError(f"cursor_configs[{number - 1}] must be an object (got {_shown(config)})")
    given = dict(config)
    name = given.pop("batch_id", batch_id(number))
    if not isinstance(name, str | int) or isinstance(name, bool) or not str(name):
        raise ValueError(f"cursor_configs[{number - 1}].batch_id must be text (got {_shown(name)})")
    size = given.pop("batch_size", None)
    if size is not None and (not isinstance(size, int) or isinstance(size, bool)):
        raise ValueError(f"cursor_configs[{number - 1}].batch_size must be a whole number (got {_shown(size)})")
    return Cursor(str(name), given.pop("start_cursor", None), given.pop("end_cursor", None), size, given)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
