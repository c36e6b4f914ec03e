"""The `tasker` command as a user runs it: a process of its own, with the examples installed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tasker_host.db.embedded import temporary_data_dir

ROOT = Path(__file__).parents[2]
Tasker = Callable[..., "Ran"]


@dataclass(frozen=True)
class Ran:
    """How a command ended. No command may show a traceback."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture(scope="session")
def python_path(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A PYTHONPATH on which the examples plugin is installed as pip would have done it, whether it did or not."""
    folder = tmp_path_factory.mktemp("site")
    info = folder / "tasker_examples-0.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: tasker-examples\nVersion: 0.1.0\n")
    (info / "entry_points.txt").write_text("[tasker_host.plugins]\nexamples = tasker_examples.plugin\n")
    return os.pathsep.join([str(folder), str(ROOT / "plugins/tasker-examples/src"), str(ROOT)])


@pytest.fixture
def data_home() -> Iterator[Path]:
    """Where data directories go; not below pytest's own, where the account of root's server may not pass."""
    with temporary_data_dir() as folder:
        yield folder


@pytest.fixture
def environment(python_path: str, data_home: Path) -> dict[str, str]:
    """Of commands: nothing of ours but the path, a place of their own for data, and the environment `test`."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("TASKER", "DATABASE_URL"))}
    ours = {"PYTHONPATH": python_path, "XDG_DATA_HOME": str(data_home), "TASKER_ENV": "test", "NO_COLOR": "1"}
    return {**kept, **ours}


@pytest.fixture
def installed(environment: dict[str, str], tmp_path: Path) -> Callable[[str, str], str]:
    """`installed("greeter", source)` installs a plugin of one module; gives the PYTHONPATH with it."""

    def installed(name: str, source: str) -> str:
        site = tmp_path / "site"
        info = site / f"acme_{name}-2.0.dist-info"
        info.mkdir(parents=True)
        (site / f"acme_{name}.py").write_text(source)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: acme-{name}\nVersion: 2.0\n")
        (info / "entry_points.txt").write_text(f"[tasker_host.plugins]\n{name} = acme_{name}\n")
        return os.pathsep.join([str(site), environment["PYTHONPATH"]])

    return installed


@pytest.fixture
def tasker(environment: dict[str, str], tmp_path: Path) -> Tasker:
    """Runs `tasker <arguments>` to its end; `text` is its stdin, other keywords are variables."""

    def run(*arguments: str, text: str | None = None, **variables: str) -> Ran:
        done = subprocess.run(
            [sys.executable, "-m", "tasker_host", *arguments],
            input=text,
            capture_output=True,
            text=True,
            timeout=100,
            cwd=tmp_path,
            env={**environment, **variables},
            check=False,
        )
        assert "Traceback" not in done.stderr
        assert "Traceback" not in done.stdout
        return Ran(done.returncode, done.stdout, done.stderr)

    return run
