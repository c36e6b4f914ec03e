"""Which file of cases is run: ours, or the one that `--fixtures` names."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import asyncpg
import pytest

HERE = Path(__file__).parent
OURS = HERE / "fixtures.json"


_FILE = pytest.StashKey[Path]()


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """`--fixtures` is pytest's own option that lists fixtures and takes no value; with a file it is ours."""
    given = [argument for argument in config.args if Path(argument).is_file() and Path(argument).suffix != ".py"]
    if config.option.showfixtures and given:
        config.option.showfixtures = False
        config.stash[_FILE] = Path(given[0]).resolve()
        config.args = [argument for argument in config.args if argument not in given]


def _file(config: pytest.Config) -> Path:
    return config.stash.get(_FILE, OURS)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "case" in metafunc.fixturenames:
        cases = json.loads(_file(metafunc.config).read_text("utf-8"))["cases"]
        metafunc.parametrize("case", cases, ids=[case["id"] for case in cases])


@pytest.fixture(scope="session")
def ours() -> dict[str, Any]:
    """Name → template, of our own file."""
    return json.loads(OURS.read_text("utf-8"))["templates"]


@pytest.fixture(scope="session")
def templates(request: pytest.FixtureRequest, ours: dict[str, Any]) -> dict[str, Any]:
    """Name → template, as the file has them; tables that say nothing of theirs are of those that ours has."""
    return {**ours, **json.loads(_file(request.config).read_text("utf-8"))["templates"]}


@pytest.fixture(scope="session")
def not_applicable() -> dict[str, Any]:
    return tomllib.loads((HERE / "not_applicable.toml").read_text("utf-8"))


@pytest.fixture
async def connection(dsn: str) -> Any:
    connection = await asyncpg.connect(dsn)
    yield connection
    connection.terminate()
