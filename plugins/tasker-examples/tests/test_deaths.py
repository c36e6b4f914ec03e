"""Workflows that come to the same end wherever a worker dies on the way."""

from __future__ import annotations

from typing import Any

import pytest
from tasker_host.testing import crash_everywhere

from tasker_examples import plugin


@pytest.mark.parametrize(
    ("template", "context", "deaths"),
    [
        ("examples_linear/mathematical_sequence_py", {"even_number": 6}, 18),
        ("examples_batch/checkpoint_yield_test", {"total_items": 100}, 26),
    ],
)
def test_a_death_anywhere_changes_nothing(template: str, context: dict[str, Any], deaths: int) -> None:
    report = crash_everywhere(template, context, plugins=[plugin])
    assert report.undisturbed.is_complete, report.undisturbed
    assert len(report.moments) == deaths
