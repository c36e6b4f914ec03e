"""How work is cut, and what an analyzer's step keeps of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasker_host.domain.batches import BatchConfig, batches_of, cursor_ranges, kept_value


@given(st.integers(0, 5_000), st.integers(1, 700), st.none() | st.integers(1, 50))
def test_ranges_cover_every_item_once_in_no_more_batches_than_asked_for(total, size, most):
    ranges = cursor_ranges(total, size, max_batches=most)
    assert [item for start, end in ranges for item in range(start, end)] == list(range(total))
    assert most is None or len(ranges) <= most
    assert all(end - start >= min(size, total) for start, end in ranges[:-1])


def of(count: int) -> dict[str, object]:
    configs = [{"batch_id": f"b{n}", "start_cursor": n, "end_cursor": n + 1} for n in range(count)]
    return {"type": "create_batches", "worker_template_name": "work", "cursor_configs": configs}


def test_the_value_of_an_analyzer_is_what_it_returned():
    for value in ({"batch_processing_outcome": of(256), "seen": 1}, of(256)):
        assert kept_value(value, batches_of(value, most=10_000)) == value


@pytest.mark.parametrize("count", [257, 10_000])
def test_more_cursors_than_256_are_not_kept_in_it_since_every_worker_is_handed_that_value(count):
    value = {"batch_processing_outcome": of(count), "seen": 1}
    short = {"type": "create_batches", "worker_template_name": "work", "worker_count": count}
    assert kept_value(value, batches_of(value, most=10_000)) == {"batch_processing_outcome": short, "seen": 1}
    assert kept_value(of(count), batches_of(of(count), most=10_000)) == short
    config = BatchConfig(count, 1, metadata={"seen": 1})
    assert kept_value(config, config.batches()) == {
        "batch_processing_outcome": {"type": "create_batches", "worker_count": count, "total_items": count},
        "seen": 1,
    }
    assert len(batches_of(value, most=10_000).cursors) == count


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (BatchConfig(10.0, 5), r"total_items must be a whole number \(got 10.0\)"),  # type: ignore[arg-type]
        (BatchConfig(10, "5"), r"batch_size must be a whole number \(got '5'\)"),  # type: ignore[arg-type]
        (BatchConfig(10, 5, max_batches=0.5), r"max_batches must be a whole number \(got 0.5\)"),  # type: ignore[arg-type]
        (
            {"type": "create_batches", "worker_count": 3, "cursor_configs": [{"batch_id": "a"}]},
            "worker_count is 3, but cursor_configs has entries for 1",
        ),
    ],
)
def test_batches_that_make_no_sense_are_refused_with_what_was_found(wrong, message):
    with pytest.raises(ValueError, match=message):
        batches_of(wrong, most=10_000)


@pytest.mark.parametrize(
    "too_many",
    [BatchConfig(10**15, 1), {"type": "create_batches", "cursor_configs": [{"batch_id": n} for n in range(3)]}],
)
def test_more_batches_than_are_allowed_are_refused_before_they_are_cut(too_many):
    with pytest.raises(ValueError, match=r"batches; the limit is 2 \(limits.batch_workers_max\): make them larger"):
        batches_of(too_many, most=2)
    assert len(batches_of(BatchConfig(10**15, 1, max_batches=2), most=2).cursors) == 2
