"""The walk of README.md does what it says: its package, its configuration, its requests."""

from __future__ import annotations

import importlib
import json
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from tasker_host.config import load
from tasker_host.domain.request import request_from_data
from tasker_host.errors import TaskExists
from tasker_host.host import Host
from tests.docs.pages import readme
from tests.support import ended, results


@pytest.fixture
def hello(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The module of the entry point, from the files that the page shows."""
    for block in readme().blocks("python", "toml", "yaml"):
        if block.file:
            file = tmp_path / block.file
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(block.text)
    monkeypatch.syspath_prepend(str(tmp_path / "hello-tasker/src"))
    yield importlib.import_module("hello_tasker.plugin")
    for name in [name for name in sys.modules if name.split(".")[0] == "hello_tasker"]:
        del sys.modules[name]


async def test_the_walk_works(hello, dsn, tmp_path):
    [toml] = [block for block in readme().blocks("toml") if "[plugins.hello]" in block.text]
    file = tmp_path / "tasker.toml"
    file.write_text(toml.text)
    shell = "\n".join(block.text for block in readme().blocks("sh"))
    [line] = re.findall(r"^tasker task submit .*$", shell, re.MULTILINE)
    words = shlex.split(line)
    namespace, name = words[3].split("/")
    given = {"namespace": namespace, "name": name, "context": json.loads(words[words.index("--input") + 1])}
    [posted] = re.findall(r"-d '([^']+)'", shell)
    [told] = [json.loads(block.text) for block in readme().blocks("json")]

    config = load(file, env="test", environ={}, overrides={"database.url": dsn})
    async with Host(config, plugins={"hello": hello}, entry_points=False) as host:
        first = await host.submissions.submit(request_from_data(given))
        second = await host.submissions.submit(request_from_data(json.loads(posted)))
        ada, grace = await ended(host, first, second)
        with pytest.raises(TaskExists):
            await host.submissions.submit(request_from_data(given))
    assert results(ada) == {"count_letters": 3, "shout": "ADA", "greet": told}
    assert results(grace)["greet"] == {"text": "Good morning, GRACE!", "letters": 5}


def test_the_two_commands_come_first():
    first = readme().blocks("sh")[0].text.splitlines()
    assert first == ["pip install . ./plugins/tasker-examples && tasker demo", "pip install tox && tox"]
