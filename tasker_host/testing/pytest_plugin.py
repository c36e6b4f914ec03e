"""Fixtures for tests of plugins. pytest loads this module everywhere; what it needs is imported when a test asks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tasker_host.domain.event import DomainEvent
    from tasker_host.testing.harness import TaskerHarness

MARK = "tasker"


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "tasker(plugins=, handlers=, templates=, settings=, config=, setup=): what the fixture tasker_host is made of.",
    )


@pytest.fixture
def tasker_plugins() -> Any:
    """The plugins of `tasker_host`: modules of hookimpls or their names. Override it in a conftest.py."""
    return ()


@pytest.fixture
def tasker_settings() -> Any:
    """The settings of these plugins. Override it in a conftest.py."""
    return None


@pytest.fixture
def tasker_host(request: pytest.FixtureRequest, tasker_plugins: Any, tasker_settings: Any) -> Iterator[TaskerHarness]:
    """A running host with the plugins that you name, by `tasker_plugins` or the marker `tasker`, and no others."""
    from tasker_host.testing.harness import TaskerHarness

    options: dict[str, Any] = {"plugins": tasker_plugins, "settings": tasker_settings}
    # The nearest mark has the last word.
    for mark in reversed(list(request.node.iter_markers(MARK))):
        if mark.args:
            raise pytest.UsageError(f"the marker tasker takes names only, as tasker(plugins=[…]) (got {mark.args!r})")
        options |= mark.kwargs
    with TaskerHarness(**options) as harness:
        yield harness


@pytest.fixture
def tasker_events(tasker_host: TaskerHarness) -> Sequence[DomainEvent]:
    """The events that were published in this test, fast and durable, in order; it grows."""
    return tasker_host.events
