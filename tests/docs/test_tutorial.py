"""docs/writing-a-plugin.md does what it says, followed from its first line to its last."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import Result

from tasker_host.config import load
from tasker_host.domain.request import request_from_data
from tasker_host.host import Host
from tests import support
from tests.docs.pages import ROOT, code, page
from tests.support import ended, results

PAGE = page("writing-a-plugin")


def command(line: str, *more: str) -> Result:
    """A `tasker …` command line, in this process."""
    return support.command(*shlex.split(line)[1:], *more)


def pytest_in(folder: Path) -> str:
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=folder, env=environ, capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    return done.stdout


def lines(wanted: str) -> list[str]:
    shell = "\n".join(block.text for block in PAGE.blocks("sh"))
    return re.findall(rf"^{wanted}.*$", shell, re.MULTILINE)


@pytest.fixture
def scaffold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Part 1: the folder, importable as after `pip install -e`."""
    monkeypatch.chdir(tmp_path)
    [line] = lines("tasker plugin new")
    assert command(line).exit_code == 0
    folder = tmp_path / "tasker-orders"
    info = tmp_path / "site/tasker_orders-0.1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: tasker-orders\nVersion: 0.1.0\n")
    (info / "entry_points.txt").write_text("[tasker_host.plugins]\norders = tasker_orders.plugin\n")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    monkeypatch.syspath_prepend(str(folder / "src"))
    monkeypatch.chdir(folder)
    monkeypatch.setenv("TASKER_ENV", "test")
    yield folder
    forget()


@pytest.fixture
def package(scaffold: Path) -> Path:
    """Part 3: with everything that the page adds."""
    for block in PAGE.blocks("python", "yaml"):
        file = scaffold / block.file
        if file.name == "handlers.py":
            file.write_text(f"{file.read_text()}\n\n{block.text.split(chr(10), 1)[1]}")
        elif file.name == "plugin.py":
            old = re.search(r"@hookimpl\ndef tasker_handlers.*?\n\n", file.read_text(), re.DOTALL)
            assert old is not None
            file.write_text(file.read_text().replace(old[0], block.text.split("\n", 1)[1] + "\n"))
        else:
            file.write_text(block.text)
    return scaffold


@pytest.fixture
def configured(package: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Part 5: the file `tasker.toml`."""
    [block] = PAGE.blocks("toml")
    (package / "tasker.toml").write_text(block.text + "\n[plugins.examples]\nenabled = false\n")
    monkeypatch.setenv("TASKER_CONFIG", str(package / "tasker.toml"))
    return package


def forget() -> None:
    """What was imported of the package; it is imported as it is now, next time."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "tasker_orders"]:
        del sys.modules[name]


def test_the_tree_is_what_is_written(scaffold):
    tree = next(block.text for block in PAGE.blocks("") if "tasker-orders/" in block.text)
    named = re.findall(r"[├└]── ([\w./]+)", tree)
    there = {path.name for path in scaffold.rglob("*")}
    assert {path.rstrip("/").rpartition("/")[2] for path in named} <= there
    assert len(named) == 11


def test_parts_1_and_2(scaffold):
    assert "5 passed" in pytest_in(scaffold)
    [line] = lines("tasker plugin check tasker")
    assert command(line).stdout == "no faults\norders: 2 handlers, 1 template, 1 publisher\n"


def test_part_3(package):
    assert "8 passed" in pytest_in(package)
    assert (
        command("tasker plugin check tasker_orders.plugin").stdout
        == "no faults\norders: 3 handlers, 2 templates, 1 publisher\n"
    )


async def test_parts_4_and_6_the_tasks_end_as_it_says(configured, dsn):
    submitted = [shlex.split(line) for line in lines("tasker task submit")]
    inputs = [json.loads(words[words.index("--input") + 1]) for words in submitted]
    assert [words[3] for words in submitted] == ["orders/order"] * 2
    config = load(configured / "tasker.toml", env="test", environ={}, overrides={"database.url": dsn})
    async with Host(config) as host:
        requests = [{"namespace": "orders", "name": "order", "context": given} for given in inputs]
        tasks = [await host.submissions.submit(request_from_data(request)) for request in requests]
        good, bad = await ended(host, *tasks)
    assert good["status"] == "complete"
    assert results(good) == {
        "price": {"total_cents": 597},
        "count_letters": 3,
        "greet": {"text": "Hello, Ada!", "letters": 3},
    }
    assert bad["status"] == "blocked_by_failures"
    assert results(bad) == {"count_letters": 3}
    assert [step["error"]["error_code"] for step in bad["steps"] if step["error"]] == ["EMPTY_ORDER"]


def test_part_5_the_setting_is_shown_with_its_line(configured):
    shown = command("tasker plugin show orders", "--json")
    settings = {one["key"]: (one["value"], one["origin"]) for one in json.loads(shown.stdout)["settings"]}
    assert settings["price_cents"] == (199, f"{configured}/tasker.toml:5")


def replace(file: str, old: str, new: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        text = (folder / file).read_text()
        assert old in text
        (folder / file).write_text(text.replace(old, new))

    return change


BREAKS = (
    replace("tasker.toml", "price_cents = 199", 'price_cents = "cheap"'),
    replace("src/tasker_orders/handlers.py", "from typing", "import stripe\nfrom typing"),
    replace("src/tasker_orders/handlers.py", 'quantity: Annotated[int, Input("quantity")]', "quantity: int"),
    replace("src/tasker_orders/templates/order.yaml", "callable: orders.price", "callable: orders.prize"),
)
ROWS = PAGE.table("6. Break it, read the fault, repair it", "break it")


def test_every_way_to_break_it_is_tried():
    assert len(ROWS) == len(BREAKS)


@pytest.mark.parametrize(("row", "broken"), list(zip(ROWS, BREAKS, strict=False)), ids=[row[0][:30] for row in ROWS])
def test_part_6_each_fault_is_what_the_page_says(configured, row, broken):
    assert command("tasker plugin check").exit_code == 0
    forget()
    broken(configured)
    checked = command("tasker plugin check")
    assert checked.exit_code == 3
    for said in code(row[1]):
        for part in said.split(" … "):
            assert part in checked.stderr
    if "file and line" in row[1]:
        assert re.search(r"\.(toml|py):\d+", checked.stderr)


def test_part_6_doctor_explains_the_last_one(configured):
    BREAKS[-1](configured)
    for line in lines("tasker plugin doctor"):
        told = command(line)
        assert told.exit_code == 1
        assert "did you mean 'orders.price'" in told.stdout
