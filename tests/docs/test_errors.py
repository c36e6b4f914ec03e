"""docs/errors.md has every code."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tasker_host import errors
from tasker_host.api.problems import _CODES
from tasker_host.domain.result import Failed
from tests.docs.pages import ROOT, code, page


def kinds(kind: type[errors.TaskerError] = errors.TaskerError) -> Iterator[type[errors.TaskerError]]:
    yield kind
    for below in kind.__subclasses__():
        if below.__module__ == errors.__name__:
            yield from kinds(below)


def by_code() -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for kind in kinds():
        found.setdefault(kind.code, set()).add(kind.__name__)
    return found


def test_every_code_of_the_host_is_there_with_its_exceptions():
    rows = [row for rows in page("errors").tables("Codes of the host") for row in rows[1:]]
    assert {code(row[0])[0]: set(code(row[1])) for row in rows} == by_code()


def test_every_code_says_what_to_do():
    for heading, column in [
        ("Codes of the host", "code"),
        ("Codes of HTTP", "code"),
        ("Errors of steps", "`error_code`"),
    ]:
        assert [row for row in page("errors").table(heading, column) if len(row[-1]) < 8] == []


def test_every_code_of_http_is_there_with_its_status():
    rows = page("errors").table("Codes of HTTP", "code")
    ours = set(by_code())
    assert {code(row[0])[0]: int(row[1]) for row in rows} == {
        name: status.value for status, name in _CODES.items() if name not in ours
    }


def test_every_error_code_of_a_step_is_there():
    rooms = [ROOT / "tasker_host" / room for room in ("handlers", "worker")]
    sources = "\n".join(file.read_text() for room in rooms for file in sorted(room.glob("*.py")))
    rows = page("errors").table("Errors of steps", "`error_code`")
    # Nothing else in these rooms is written in capitals between quotes.
    assert {one for row in rows for one in code(row[0])} == set(re.findall(r'"([A-Z]+_[A-Z_]+)"', sources))


def test_every_type_of_a_failure_is_there():
    rows = page("errors").table("Errors of steps", "`error_type`")
    vocabulary = (Failed.__doc__ or "").partition("vocabulary")[2].partition("or an")[0]
    assert {code(row[0])[0] for row in rows} == {*code(vocabulary), "worker_lost"}
