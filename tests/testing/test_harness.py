"""A host for the length of a test, by hand and by the fixtures that pytest finds."""

from __future__ import annotations

import subprocess
import sys
from datetime import timedelta
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from tasker_host import RetryableError, StepContext, step_handler
from tasker_host.errors import TemplateError
from tasker_host.testing import TaskerHarness
from tests.docs.pages import page
from tests.support import chain, plugin

ROOT = Path(__file__).parents[2]


@step_handler("first")
def first(context: StepContext) -> int:
    return context.input["number"] * 2


@step_handler("late")
async def late(context: StepContext) -> str:
    if context.attempt == 1:
        raise RetryableError("not yet", retry_after=3600)
    return "now"


TELLS = chain("tells", "first") + "\n    publishes_events: [{name: number.doubled}]"


def test_tasks_run_and_their_events_are_told_in_order():
    with TaskerHarness(handlers=[first], templates=[TELLS]) as tasker:
        runs = [tasker.run("tests/tells", {"number": number}) for number in (1, 2)]
        assert [run.values for run in runs] == [{"first": 2}, {"first": 4}]
        assert [(event.event_name, event.payload) for event in tasker.events] == [
            ("number.doubled", 2),
            ("number.doubled", 4),
        ]
        assert [event.payload for event in runs[1].events] == [4]


def test_what_waits_for_a_time_waits_until_the_clock_is_moved():
    with TaskerHarness(handlers=[late], templates=[chain("one", "late")]) as tasker:
        task = tasker.submit("one")
        tasker.advance(minutes=59)
        assert tasker.task(task).states == {"late": "waiting_for_retry"}
        tasker.advance(timedelta(minutes=2))
        assert tasker.task(task).values == {"late": "now"}


def test_the_api_answers_without_a_network_and_the_database_can_be_asked():
    with TaskerHarness({"p": plugin([first], [TELLS])}, setup="create table mine (n int)") as tasker:
        answer = tasker.request(
            "POST", "/v1/tasks", json={"namespace": "tests", "name": "tells", "context": {"number": 5}}
        )
        assert answer.status_code == 201
        run = tasker.rest(answer.json()["task_uuid"])
        assert run.values == {"first": 10}
        assert tasker.fetch("select count(*) as steps from tasker.steps where state = 'complete'") == [{"steps": 1}]
        assert tasker.effects() == {"mine": []}


def test_a_harness_that_has_nothing_to_run_says_so():
    with pytest.raises(TemplateError, match="no plugin gives a template"), TaskerHarness():
        raise AssertionError("not entered")


# Fixtures -------------------------------------------------------------------------------------------------------------


PLUGIN = '''
from tasker_host import TaskTemplate, hookimpl, step_handler
from tasker_host.domain.source import parse_template

@step_handler("shop.greet")
def greet() -> str:
    return "hello"

TEMPLATE, _ = parse_template("""
name: greet
namespace_name: shop
version: 1.0.0
steps:
  - name: greet
    handler: {callable: shop.greet}
    publishes_events: [{name: shop.greeted}]
""", source="greet.yaml")

@hookimpl
def tasker_handlers():
    return [greet]

@hookimpl
def tasker_templates():
    return [TEMPLATE]
'''.replace('name: str = ""', "")

TESTS = """
import pytest
import tasker_shop

@pytest.fixture
def tasker_plugins():
    return [tasker_shop]

def test_a_task(tasker_host, tasker_events):
    assert tasker_events == []
    assert tasker_host.run("shop/greet").values == {"greet": "hello"}
    assert [event.event_name for event in tasker_events] == ["shop.greeted"]

@pytest.mark.tasker(plugins={"other": tasker_shop})
def test_the_marker_has_the_last_word(tasker_host):
    assert [plugin.name for plugin in tasker_host.host.roster.plugins if plugin.module == "tasker_shop"] == ["other"]

async def test_with_a_running_loop(tasker_host):
    assert tasker_host.run("greet").is_complete
"""


def _pytest(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    installed = any(point.value == "tasker_host.testing.pytest_plugin" for point in entry_points(group="pytest11"))
    by_hand = [] if installed else ["-p", "tasker_host.testing.pytest_plugin"]
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", "/dev/null", *by_hand, *arguments],
        cwd=folder,
        env={"PYTHONPATH": f"{ROOT}:{folder}", "PATH": ""},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def test_a_plugin_s_own_tests_find_the_fixtures(tmp_path):
    (tmp_path / "tasker_shop.py").write_text(PLUGIN)
    (tmp_path / "test_shop.py").write_text(TESTS)
    done = _pytest(tmp_path, "-o", "asyncio_mode=auto", "--strict-markers", "test_shop.py")
    assert "3 passed" in done.stdout, done.stdout + done.stderr


def test_the_pytest_plugin_imports_nothing_heavy_where_it_is_not_used(tmp_path):
    code = (
        "import sys, tasker_host.testing.pytest_plugin\n"
        "print([name for name in ('asyncpg', 'litestar', 'pydantic', 'httpx', 'structlog') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout == "[]\n"


def test_it_is_an_entry_point_of_pytest():
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["pytest11"] == {"tasker_host": "tasker_host.testing.pytest_plugin"}


def test_the_fixtures_of_the_documentation_pass(tmp_path):
    for block in page("testing").blocks("python"):
        if block.file:
            file = tmp_path / block.file
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(block.text)
    done = _pytest(tmp_path, "--strict-markers", "tests")
    assert "1 passed" in done.stdout, done.stdout + done.stderr
