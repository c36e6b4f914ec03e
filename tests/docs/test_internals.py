"""The map of the code has every room, and nothing that is not there."""

from __future__ import annotations

import re
import tomllib

from tests.docs.pages import ROOT, read

PAGE = read(ROOT / "docs" / "internals.md")
HOST = ROOT / "tasker_host"


def test_every_room_is_on_the_map_above_those_that_it_may_use():
    rows = re.findall(r"^\| (`.*?`) \|", PAGE.text, re.MULTILINE)
    told = [name.removesuffix(".py") for row in rows for name in re.findall(r"`([\w.]+)`", row)]
    layers = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"][0]["layers"]
    level = {room.strip(): number for number, layer in enumerate(layers) for room in layer.split("|")}
    assert sorted(told) == sorted(level)
    assert [level[name] for name in told] == sorted(level[name] for name in told)


def test_every_file_that_is_named_is_there():
    spans = re.findall(r"`([^`\n]+\.(?:py|sql))`", PAGE.text)
    functions = {path.name for path in (HOST / "db/sql/functions").glob("*.sql")}
    missing = [
        span
        for span in spans
        if "NNNN" not in span
        and "*" not in span
        and not ((HOST / span).exists() or (ROOT / span).exists() or span in functions)
        and not (ROOT / "tests/benchmarks" / span).exists()
    ]
    assert missing == []
